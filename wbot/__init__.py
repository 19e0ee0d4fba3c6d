"""wbot: the WhatsApp bot a business can trust with money."""

__version__ = "0.1.0"
