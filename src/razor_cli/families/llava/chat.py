"""How a question becomes a prompt: the words around it, in the layout of LLaVA 1.5."""

from __future__ import annotations

IMAGE, PAD, END = "<image>", "<pad>", "</s>"
PICTURE = f"USER: {IMAGE}\n"
ALONE = "USER: "
ASK = " ASSISTANT:"
_EACH = "{%% for part in message['content'] | selectattr('type', 'equalto', '%s') %%}"
TEMPLATE = (
    "{% for message in messages %}{{ message['role'].upper() + ': ' }}"
    "{% if message['content'] is string %}{{ message['content'] + ' ' }}{% else %}"
    + (_EACH % "image" + "{{ '<image>\n' }}{% endfor %}")
    + (_EACH % "text" + "{{ part['text'] + ' ' }}{% endfor %}")
    + "{% endif %}{% endfor %}{% if add_generation_prompt %}{{ 'ASSISTANT:' }}{% endif %}"
)


def prompt(question: str, *, picture: bool) -> str:
    """Return the prompt of one question, about a picture or alone."""
    return f"{PICTURE if picture else ALONE}{question}{ASK}"
