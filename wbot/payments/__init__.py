"""All that moves money: plain functions over a transaction, for tools, taps and operators."""
