"""Chats with the official Python client, and prints what it heard as JSON.

Arguments: the server's URL, the transport, the token, the user to write to.
"""

import json
import sys
import threading

import socketio

DEADLINE_S = 8


def main(url, transport, token, to):
    transports = ["polling", "websocket"] if transport == "polling with upgrade" else [transport]
    client = socketio.Client(reconnection=False)
    heard = []
    answered = threading.Event()

    @client.on("*")
    def hear(event, *args):
        heard.append({"event": event, "payload": args[0] if args else None})
        if event == "message:new" and args[0]["content"] == "the end":
            answered.set()

    client.connect(url, auth={"token": token}, transports=transports, wait_timeout=DEADLINE_S)

    def call(event, payload):
        return client.call(event, payload, timeout=DEADLINE_S)

    sent = call("message:send", {"to": to, "content": "grüße, 世界 😀"})
    acks = {
        "sent": sent,
        "edited": call("message:edit", {"messageId": sent["id"], "content": "edited"}),
        "deleted": call("message:delete", {"messageId": sent["id"]}),
        "unknown": call("no-such-event", {}),
        "missed": call("get-missed-messages", {"cursors": {}}),
    }
    # The other side writes back once it has heard the deletion.
    is_answered = answered.wait(DEADLINE_S)
    transport = client.transport()
    client.disconnect()
    print(json.dumps({"heard": heard, "acks": acks, "answered": is_answered, "transport": transport}))


def refused(url, transport):
    client = socketio.Client(reconnection=False)
    reasons = []
    client.on("connect_error", reasons.append)
    try:
        client.connect(url, transports=[transport], wait_timeout=DEADLINE_S)
    except socketio.exceptions.ConnectionError as error:
        print(json.dumps({"error": str(error), "reasons": reasons}))


if __name__ == "__main__":
    if len(sys.argv) == 3:
        refused(*sys.argv[1:])
    else:
        main(*sys.argv[1:])
