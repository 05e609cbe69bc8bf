"""Follow a remote source whose history moved while a build was half done."""
