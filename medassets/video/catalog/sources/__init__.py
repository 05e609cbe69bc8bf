"""Kinds of video sources, one file each; `registry` names them."""
