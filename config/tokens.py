"""How many tokens a prompt makes, guessed high and without the model's own tokenizer: it must fit, wherever it goes."""

from config.messages import ChatMessage

#: Bytes of English that make a token, at the least; other writings have more bytes to a letter and count more.
BYTES_PER_TOKEN = 3

#: Tokens of the chat format around one message.
TOKENS_AROUND = 8


def text_tokens(text: str) -> int:
    """Tokens of a text. Models cut numbers into their digits."""
    encoded = text.encode()
    plain = len(encoded.translate(None, b"0123456789"))
    return plain // BYTES_PER_TOKEN + len(encoded) - plain


def message_tokens(message: ChatMessage) -> int:
    """Tokens of a message in a prompt."""
    return text_tokens(message.content) + TOKENS_AROUND
