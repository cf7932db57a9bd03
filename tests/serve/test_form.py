"""Forms that are broken anywhere: a sentence for each, and the server goes on."""

import gc

import numpy as np
from serving import error_of, form

URL = "/v1/images/edits"


def test_broken_forms_get_a_sentence(fake):
    generator, codes = np.random.default_rng(0), set()
    with fake() as (client, *_):
        request = client.build_request("POST", URL, **form(seed="1", guidance="2"))
        body, headers = request.read(), {"content-type": request.headers["content-type"]}
        for _ in range(100):
            broken = bytearray(body)
            for _ in range(generator.integers(1, 5)):
                # Most of the body is the picture; the parts' heads come first and last.
                at = generator.integers(len(broken)) if generator.random() < 0.3 else 0
                at = at or generator.choice([1, -1]) * generator.integers(300)
                broken[at : at + generator.integers(9)] = generator.bytes(generator.integers(9))
            answer = client.post(URL, content=bytes(broken), headers=headers)
            codes.add(answer.status_code)
            if answer.status_code != 200:
                error_of(answer, answer.status_code)
        assert client.post(URL, **form()).status_code == 200
    gc.collect()
    assert codes <= {200, 400, 404, 415} and 400 in codes


def test_a_form_that_is_cut_anywhere_is_refused(fake):
    """A field that is cut off must not take its default."""
    image, end = form()["files"]["image"], b"--x--\r\n"
    body = b"".join(
        b"--x\r\nContent-Disposition: form-data; name=%b\r\n\r\n%b\r\n" % part
        for part in (
            (b'"image"; filename="a.png"', image[1]),
            (b'"prompt"', b"make it red"),
            (b'"seed"', b"12"),
        )
    )
    headers = {"content-type": "multipart/form-data; boundary=x"}
    with fake() as (client, _, editor, _):
        for cut in range(len(body) - 20, len(body) + 5):
            answer = client.post(URL, content=(body + end)[:cut], headers=headers)
            error_of(answer, 400)
        for blanks in (b"", b"\r\n"):
            answer = client.post(URL, content=body + end.rstrip() + blanks, headers=headers)
            assert answer.status_code == 200
        assert editor.batches == [[12], [12]]
