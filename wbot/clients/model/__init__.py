"""The model: an OpenAI-compatible endpoint in either of its forms."""

from wbot.clients.model.answers import OPAQUE, Answer, Failing, ModelClient, ToolCall, Usage
from wbot.clients.model.endpoint import OpenAIModel

__all__ = ["OPAQUE", "Answer", "Failing", "ModelClient", "OpenAIModel", "ToolCall", "Usage"]
