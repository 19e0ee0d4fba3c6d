"""The model: an OpenAI-compatible endpoint in either of its forms."""

from wbot.clients.model.answers import Answer, Failing, ModelClient, ToolCall, Usage
from wbot.clients.model.endpoint import OpenAIModel

__all__ = ["Answer", "Failing", "ModelClient", "OpenAIModel", "ToolCall", "Usage"]
