"""What is read, and what the paper's tables and captions say of it."""
