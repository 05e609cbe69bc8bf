"""Where raw bytes come from: the Hugging Face Hub or a folder, and the staging area."""
