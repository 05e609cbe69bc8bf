"""What a folder holds, seen at a sample of its files, and the declaration that fits; reads only."""
