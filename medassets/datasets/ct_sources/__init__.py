"""Kinds of CT sources, one file each; `registry` names them."""
