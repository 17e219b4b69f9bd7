"""A WebSocket's opening handshake, with headers that a browser would not let a page choose."""

import http.client

WEBSOCKET = "/jupyter/api/kernels/k/channels?session_id=p"
_UPGRADE = {
    "Connection": "Upgrade",
    "Upgrade": "websocket",
    "Sec-WebSocket-Version": "13",
    "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
}


def answer(address, path="/", **headers):
    """The response to a GET request, with its body read. `Host` is the address unless given."""
    connection = http.client.HTTPConnection(*address, timeout=60)
    try:
        connection.request("GET", path, headers=headers)
        response = connection.getresponse()
        response.text = response.read().decode()
        return response
    finally:
        connection.close()


def handshake(address, path=WEBSOCKET, **headers):
    """The status of the response to a WebSocket's handshake: 101 if the server speaks WebSocket from there on."""
    connection = http.client.HTTPConnection(*address, timeout=60)
    try:
        connection.request("GET", path, headers=_UPGRADE | headers)
        return connection.getresponse().status
    finally:
        connection.close()
