"""Mixed requests, good and broken, by many clients at once: none is lost or answered wrongly."""

import urllib.parse
from concurrent.futures import ThreadPoolExecutor

from mixed_requests import GOOD, fault_of, good, mixed, pictures_of, send
from serving import wait_for


def test_none_is_lost_or_answered_wrongly(fake):
    with fake(max_upload_mb=0.2, max_batch=4) as (client, service, *_):
        url = urllib.parse.urlsplit(str(client.base_url))
        address = (url.hostname, url.port)
        alone = [pictures_of(send(address, good(number))) for number in range(GOOD)]
        requests = list(mixed(60, 0, max_bytes=200_000))
        with ThreadPoolExecutor(16) as pool:
            answers = list(pool.map(lambda request: send(address, request), requests))
        faults = [
            (request.kind, fault)
            for request, answer in zip(requests, answers, strict=True)
            if (fault := fault_of(request, answer, alone))
        ]
        assert not faults
        wait_for(lambda: len(service.queue) == 0)
        assert client.get("/ready").status_code == 200
