// Starts one simulator and one receiver of callbacks for a test file.
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';

const BINARY = process.env.SIMULATOR
  ?? fileURLToPath(new URL('../../target/debug/channel-simulator', import.meta.url));

export async function startSimulator() {
  const folder = mkdtempSync(join(tmpdir(), 'simulator-'));
  const config = join(folder, 'config.yaml');
  writeFileSync(config, 'listen: 127.0.0.1:0\nadminListen: 127.0.0.1:0\n');
  const child = spawn(BINARY, ['--config', config], { stdio: ['ignore', 'pipe', 'inherit'] });
  let addresses;
  for await (const line of createInterface({ input: child.stdout })) {
    addresses = JSON.parse(line);
    if (addresses.public) break;
  }
  rmSync(folder, { recursive: true });
  const call = async (method, path, body) => {
    const answer = await fetch(`http://${addresses.admin}${path}`, {
      method,
      headers: { 'content-type': 'application/json' },
      body: body && JSON.stringify(body),
    });
    const text = await answer.text();
    if (!answer.ok) throw new Error(`${path}: ${answer.status} ${text}`);
    return text && JSON.parse(text);
  };
  return {
    url: `http://${addresses.public}`,
    keys: await call('GET', '/keys'),
    certificateKeys: await call('GET', '/keys?mode=certificate'),
    get: (path) => call('GET', path),
    post: (path, body) => call('POST', path, body),
    stop: async () => {
      child.kill('SIGTERM');
      const [code] = await once(child, 'exit');
      return code;
    },
  };
}

export async function startReceiver(answerBody) {
  const waiting = [];
  const received = [];
  const server = createServer(async (request, response) => {
    const chunks = [];
    for await (const chunk of request) chunks.push(chunk);
    const callback = { headers: request.headers, body: Buffer.concat(chunks).toString() };
    response.end(answerBody);
    (waiting.shift() ?? ((one) => received.push(one)))(callback);
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  return {
    url: `http://127.0.0.1:${server.address().port}/callbacks`,
    next: () => received.shift() ?? new Promise((resolve) => waiting.push(resolve)),
    stop: () => { server.closeAllConnections(); server.close(); },
  };
}

export const number = () => `sdk${Date.now()}${Math.floor(Math.random() * 1e6)}`;

// Today in Beijing, and past ten o'clock of the day after.
export const today = () => new Date(Date.now() + 8 * 3600e3).toISOString().slice(0, 10);
export const untilBills = { advanceSeconds: 2 * 86400 };
