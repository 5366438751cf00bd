// The stock @openai/agents-realtime package over WebSocket: a spoken conversation with a function and a barge-in.
// What its user does is what tests/sdk/user.py says.

import { readFileSync } from 'node:fs';
import { RealtimeAgent, RealtimeSession, tool } from '@openai/agents-realtime';
import { z } from 'zod';

const PACKET_BYTES = 960, PACKET_MS = 20, BARGE_IN_AFTER_MS = 1200, ANSWERS = 4;

const [url, hum, instructions] = process.argv.slice(2);
const voice = readFileSync(hum);
const report = { transcripts: [], tools: [], truncated_ms: [], interrupted: 0, ahead_ms: 0, errors: [], events: [] };

const weather = tool({
  name: 'weather',
  description: 'The weather of a town.',
  parameters: z.object({ town: z.string() }),
  execute: async ({ town }) => {
    report.tools.push(town);
    return 'sunny';
  },
});
const agent = new RealtimeAgent({ name: 'Guide', instructions, tools: [weather] });
const session = new RealtimeSession(agent, { transport: 'websocket', model: 'antiphon' });

let saying = Buffer.alloc(0), began = 0, sent = 0, ended = 0, came = 0, sounds = 0;
const speak = () => (saying = voice);

function microphone() {
  for (const due = Math.floor((Date.now() - began) / PACKET_MS); sent < due; sent += 1) {
    const packet = new Uint8Array(PACKET_BYTES);
    saying.copy(packet, 0, 0, PACKET_BYTES);
    saying = saying.subarray(PACKET_BYTES);
    session.sendAudio(packet.buffer);
  }
}

session.on('audio', ({ data }) => {
  const before = came;
  sounds ||= Date.now();
  came += data.byteLength / 48;
  report.ahead_ms = Math.max(report.ahead_ms, came - (Date.now() - sounds));
  if (ended === ANSWERS - 2 && before < BARGE_IN_AFTER_MS && came >= BARGE_IN_AFTER_MS) speak();
});
session.on('audio_interrupted', () => (report.interrupted += 1));
session.on('history_updated', (history) => {
  report.transcripts = history
    .filter((item) => item.type === 'message')
    .map((item) => `${item.role}: ${(item.content[0]?.transcript ?? '').trim()}`);
});
session.on('error', ({ error }) => report.errors.push(JSON.stringify(error) ?? String(error)));
session.on('transport_event', (event) => {
  if (!(event.type.endsWith('.delta') && report.events.at(-1) === event.type)) report.events.push(event.type);
  if (event.type === 'conversation.item.truncated') report.truncated_ms.push(event.audio_end_ms);
  if (event.type === 'response.done' && came) {
    came = sounds = 0;
    ended += 1;
    if (ended < ANSWERS - 1) speak();
    if (ended === ANSWERS) leave();
  }
});

function leave() {
  clearInterval(speaking);
  session.close();
  process.stdout.write(JSON.stringify(report));
}

await session.connect({ apiKey: 'any', url: `${url}/realtime?model=antiphon` });
began = Date.now();
const speaking = setInterval(microphone, PACKET_MS);
speak();
