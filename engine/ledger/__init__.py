"""The ledger: each change of a job is one operation of one transaction. No driver, no LangGraph."""
