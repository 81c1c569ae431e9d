"""The paper's tables: what is read, and what each table says."""
