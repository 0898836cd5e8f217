"""Sessions of the `openai` package for Python, as its users write them: `client.py CASE MODEL`.

Address and key are in OPENAI_BASE_URL and OPENAI_API_KEY, where the package looks for them itself. What was seen is printed as one JSON object; the test beside it says what it should be.
"""

import asyncio
import base64
import json
import math
import struct
import sys

from openai import AsyncOpenAI
from openai.types.realtime import RealtimeServerEvent
from pydantic import TypeAdapter, ValidationError

RATE = 24_000
DEADLINE_S = 15
SHAPE = TypeAdapter(RealtimeServerEvent)


def tone(ms, hz=440):
    return b"".join(struct.pack("<h", int(9_000 * math.sin(2 * math.pi * hz * n / RATE))) for n in range(RATE * ms // 1_000))


def silence(ms):
    return bytes(2 * RATE * ms // 1_000)


def breaches(error):
    """Where an event is not of its shape, and not what is there: the words of a conversation are nobody's log's."""
    places = [one["loc"] for one in error.errors()]
    # The shape of each type is tried; those of other types are wrong about the type, too.
    others = {place[0] for place in places if place[1:] == ("type",)}
    return [".".join(map(str, place)) for place in places if place[0] not in others]


class Session:
    """A connection, and what it was told."""

    def __init__(self, connection):
        self.connection = connection
        self.events = []
        self.malformed = []

    async def until(self, kind):
        async def read():
            while True:
                event = await self.connection.recv()
                self.events.append(event)
                try:
                    SHAPE.validate_python(event.to_dict())
                except ValidationError as error:
                    self.malformed.append([event.type, breaches(error)])
                if event.type == kind:
                    return event

        try:
            return await asyncio.wait_for(read(), DEADLINE_S)
        except asyncio.TimeoutError:
            raise SystemExit(f"no {kind} for {DEADLINE_S} s; the last events: {[event.type for event in self.events[-30:]]}") from None

    async def say(self, text):
        item = {"type": "message", "role": "user", "content": [{"type": "input_text", "text": text}]}
        await self.connection.conversation.item.create(item=item)
        await self.connection.response.create()
        return (await self.until("response.done")).response

    async def speak(self, sound):
        for at in range(0, len(sound), 4_800):
            await self.connection.input_audio_buffer.append(audio=base64.b64encode(sound[at : at + 4_800]).decode())

    def sound(self):
        return b"".join(base64.b64decode(event.delta) for event in self.events if event.type == "response.output_audio.delta")


async def text(session):
    await session.connection.session.update(session={"type": "realtime", "output_modalities": ["text"], "instructions": "Be brief."})
    updated = await session.until("session.updated")
    response = await session.say("good morning")
    deltas = "".join(event.delta for event in session.events if event.type == "response.output_text.delta")
    return {"instructions": updated.session.instructions, "status": response.status, "text": response.output[0].content[0].text, "deltas": deltas}


async def audio(session):
    await session.speak(silence(300) + tone(800) + silence(800))
    response = (await session.until("response.done")).response
    turn = [event.type for event in session.events if event.type.startswith("input_audio_buffer.")]
    return {"turn": turn, "transcript": response.output[0].content[0].transcript, "heard_ms": len(session.sound()) * 1_000 // (2 * RATE)}


async def committed(session):
    detection = {"type": "realtime", "audio": {"input": {"turn_detection": None}}}
    await session.connection.session.update(session=detection)
    await session.speak(tone(500))
    await session.connection.input_audio_buffer.commit()
    await session.connection.response.create()
    response = (await session.until("response.done")).response
    return {"transcript": response.output[0].content[0].transcript}


async def order(session):
    call = (await session.say("two bacon burgers no pickles and a cola")).output[0]
    output = {"type": "function_call_output", "call_id": call.call_id, "output": '{"ok":true}'}
    await session.connection.conversation.item.create(item=output)
    await session.connection.response.create()
    added = (await session.until("response.done")).response
    # The relay runs this one, adds its output, and answers.
    submitted = (await session.say("that's all")).output[0]
    done = (await session.until("response.done")).response
    outputs = [event.item for event in session.events if event.type == "conversation.item.done" and event.item.type == "function_call_output"]
    return {
        "call": [call.name, [[item["name"], item["quantity"]] for item in json.loads(call.arguments)["items"]]],
        "added": added.output[0].content[0].transcript,
        "submitted": submitted.name,
        "done": done.output[0].content[0].transcript,
        "made": json.loads(outputs[-1].output)["ok"],
    }


async def cancel(session):
    # Eight seconds are said back in 0.8 s: long enough to be cancelled.
    await session.speak(tone(8_000) + silence(800))
    begun = await session.until("response.output_audio.delta")
    await session.connection.response.cancel()
    response = (await session.until("response.done")).response
    await session.connection.conversation.item.truncate(item_id=begun.item_id, content_index=0, audio_end_ms=100)
    truncated = await session.until("conversation.item.truncated")
    return {"status": response.status, "reason": response.status_details.reason, "audio_end_ms": truncated.audio_end_ms, "heard_ms": len(session.sound()) * 1_000 // (2 * RATE)}


async def close(session):
    # What closes it is the block that opened it.
    return {"state": (await session.say("good bye")).status}


CASES = {case.__name__: case for case in (text, audio, committed, order, cancel, close)}


async def main(case, model):
    async with AsyncOpenAI() as server:
        # As a page is given one, and as little as it may do.
        secret = await server.realtime.client_secrets.create(session={"type": "realtime", "model": model})
    async with AsyncOpenAI(api_key=secret.value) as client:
        async with client.realtime.connect(model=model) as connection:
            session = Session(connection)
            created = await session.until("session.created")
            seen = await CASES[case](session)
        errors = [event.error.code for event in session.events if event.type == "error"]
        print(json.dumps({"model": created.session.model, **seen, "errors": errors, "malformed": session.malformed}))


asyncio.run(main(*sys.argv[1:]))
