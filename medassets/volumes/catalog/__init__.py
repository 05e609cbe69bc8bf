"""Catalog rows of CT volumes: tables, trees and tars, joined and checked."""
