import pytest

from jaxedit.chat.messages import content_of, request_body, without_reasoning


def response(**message):
    return {"choices": [{"message": message}]}


def test_a_request_holds_the_text_and_then_the_pictures():
    body = request_body("m", "Which?", [b"\x89PNG1", b"\xff\xd82"], {"seed": 3})
    assert (body["model"], body["seed"]) == ("m", 3)
    assert [part["type"] for part in body["messages"][0]["content"]] == [
        "text",
        "image_url",
        "image_url",
    ]


@pytest.mark.parametrize(
    ("message", "text"),
    [
        ({"content": "yes"}, "yes"),
        ({"content": None}, ""),
        ({"content": None, "refusal": "I cannot help"}, "I cannot help"),
    ],
)
def test_content(message, text):
    assert content_of(response(**message)) == text


@pytest.mark.parametrize("damaged", [[], {"choices": []}, response(), None, response(content=[])])
def test_responses_without_a_text(damaged):
    with pytest.raises(ValueError, match="message.content"):
        content_of(damaged)


@pytest.mark.parametrize(
    ("reply", "rest"),
    [
        ("yes", "yes"),
        ("<think>no\nor</think> so</think>\nyes", "\nyes"),
        ("◁think▷no◁/think▷yes", "yes"),
        ("<think>yes, and", ""),
    ],
)
def test_reasoning(reply, rest):
    assert without_reasoning(reply) == rest
