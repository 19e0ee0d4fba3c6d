"""The hostile model: anything a model may emit, any tap and word, and a ledger that judges it."""
