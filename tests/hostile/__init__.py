"""The hostile test: any model output, tap and word, and an auditor that checks the ledger."""
