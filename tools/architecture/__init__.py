"""The figures of docs/explanation/architecture.md, drawn from the code that they describe."""
