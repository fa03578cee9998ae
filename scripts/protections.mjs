/**
 * The protections that `without.mjs` takes out: what each is called, the option or stage of the contract that it is of,
 * the test that must fail without it, and the changes (file under `lib/`, text that is there once, text in its place).
 */

/** Protections whose tests stand in one file, under names that begin alike. */
const group = (spec, prefix, rows) =>
  rows.map(([name, row, test, ...edits]) => ({
    name,
    row,
    spec: `test/${spec}`,
    test: `${prefix}${test}`,
    edits: edits.map(([file, find, replace]) => [`lib/${file}`, find, replace]),
  }));

const NO_LINE_LENGTH = ['listener/port.ts', 'maxLineLength: http.maxLineLength', 'maxLineLength: Infinity'];
const NO_LINE_NUMBER = ['listener/port.ts', 'maxNumHeaders: http.maxNumHeaders', 'maxNumHeaders: Infinity'];
const ANY_NUMBER = ['request/fields.ts', "(typeof lines === 'string' ? lines : undefined)", 'linesOf(lines)[0]'];
const transportWithout = (left) => [
  'admission/transport.ts',
  'const CHECKS = [refuseTls, refuseHost, refuseOrigin, refuseAddress]',
  `const CHECKS = [${left}]`,
];

const REQUESTS = group('attack/opening/requests.spec.ts', 'express, own port, plaintext ', [
  ['request line length', 'http.maxLineLength', 'a request line of 8193 bytes', NO_LINE_LENGTH],
  ['header line length', 'http.maxLineLength', 'a header line of 8193 bytes', NO_LINE_LENGTH],
  [
    'lines are cut while they arrive',
    'http.maxLineLength',
    'cuts a header line at the first byte too many',
    ['request/line-meter.ts', 'Math.min(chunk.length, from + this.limits.maxLineLength - this.length)', 'chunk.length'],
  ],
  ['number of header lines', 'http.maxNumHeaders', '129 header lines', NO_LINE_NUMBER],
  [
    'empty lines before the request',
    'stage 1: at most two empty lines',
    'three empty lines before',
    ['request/line-meter.ts', 'this.leading < 2 * MAX_EMPTY_LINES', 'true'],
  ],
  [
    'no bare LF',
    'stage 1: CRLF only',
    'a bare LF',
    [
      'request/line-meter.ts',
      "return byte === CR ? State.LineLf : this.fail('malformed');",
      "return byte === CR ? State.LineLf : byte === LF ? this.newLine() : this.fail('malformed');",
    ],
    [
      'request/parse-head.ts',
      'if (bytes[end] !== CR || bytes[end + 1] !== LF) return undefined;',
      'if (bytes[end] !== CR && bytes[end] !== LF) return undefined;',
    ],
    ['request/parse-head.ts', 'at = end + 2;', 'at = end + (bytes[end] === LF ? 1 : 2);'],
  ],
  [
    'no folded lines',
    'stage 1: no folding',
    'a folded header',
    [
      'request/line-meter.ts',
      "if (TOKEN_BYTES[byte] !== 1) return this.fail('malformed');",
      "if (byte === SP) return State.Value;\n    if (TOKEN_BYTES[byte] !== 1) return this.fail('malformed');",
    ],
    [
      'request/parse-head.ts',
      'const end = skip(bytes, FIELD_BYTES, colon + 1);',
      'let end = skip(bytes, FIELD_BYTES, colon + 1);\n    while (bytes[end + 2] === SP) end = skip(bytes, FIELD_BYTES, end + 2);',
    ],
  ],
  [
    'no space before a colon',
    'stage 1: grammar',
    'a space before a colon',
    [
      'request/line-meter.ts',
      "return byte === COLON ? State.Value : this.fail('malformed');",
      "return byte === COLON ? State.Value : byte === SP ? State.Name : this.fail('malformed');",
    ],
    [
      'request/parse-head.ts',
      'const colon = skip(bytes, TOKEN_BYTES, at);',
      'let colon = skip(bytes, TOKEN_BYTES, at);\n    if (bytes[colon] === SP) colon++;',
    ],
  ],
  [
    'no control characters in values',
    'stage 1: no bytes outside the grammar',
    'NUL in a value',
    ['request/grammar.ts', "'\\\\t -~\\\\x80-\\\\xff'", "'\\\\x00\\\\t -~\\\\x80-\\\\xff'"],
  ],
  ['GET only', 'stage 3: 405', 'POST', ['request/checks.ts', "head.method === 'GET'", 'true']],
  ['HTTP/1.1 only', 'stage 3: 505', 'HTTP/1.0', ['request/checks.ts', "head.version === '1.1'", 'true']],
  [
    'targets in origin form',
    'stage 3: absolute-form targets are refused',
    'an absolute target',
    ['request/checks.ts', "if (!target.startsWith('/')) return BAD.target;", ''],
  ],
  [
    'paths are compared byte for byte',
    'stage 4: raw target up to ?',
    '/./',
    [
      'pipeline/stages.ts',
      'endpoints.get(passage.request.path)',
      "endpoints.get(new URL(passage.request.path, 'http://x').pathname)",
    ],
  ],
  ['one Host', 'stage 3: exactly one valid Host', 'two Hosts', ANY_NUMBER],
  [
    'a valid Host',
    'stage 3: exactly one valid Host',
    'a Host with userinfo',
    ['request/host.ts', '(?:[\\w.~-]|', '(?:[\\w.~@-]|'],
  ],
  ['one key', 'stage 3: exactly one Sec-WebSocket-Key', 'two keys', ANY_NUMBER],
  [
    'a key of sixteen bytes',
    'stage 3: Sec-WebSocket-Key',
    'a short key',
    ['request/checks.ts', 'value === undefined || !KEY.test(value)', 'value === undefined'],
  ],
  [
    'one Origin',
    'stage 3: at most one Origin',
    'two Origins',
    ['request/checks.ts', 'return BAD.origin;', 'return undefined;'],
  ],
  [
    'version 13 only',
    'stage 3: 426',
    'version 8',
    ['request/checks.ts', "value === '13' ? undefined : REFUSALS.websocketVersion", 'undefined'],
  ],
  [
    'Connection names nothing that a proxy could drop',
    'stage 3: Connection',
    'Connection that names another header',
    ['request/checks.ts', "if (option !== '' && !CONNECTION_OPTIONS.has(option)) return BAD.connection;", ''],
  ],
  ['no body: Content-Length', 'http.maxBodySize', 'a body', ['request/checks.ts', 'return announced || ', 'return ']],
  [
    'no body: Transfer-Encoding',
    'http.maxBodySize',
    'Transfer-Encoding',
    ['request/checks.ts', 'announced || transferEncoding !== undefined', 'announced'],
  ],
  [
    'few subprotocols are offered',
    'stage 3',
    '17 protocols',
    ['request/checks.ts', 'export const MAX_PROTOCOLS = 16', 'export const MAX_PROTOCOLS = 16_000'],
    ['request/checks.ts', 'const MAX_ELEMENTS = 64', 'const MAX_ELEMENTS = 64_000'],
  ],
  [
    'few extensions are offered',
    'stage 3',
    '9 extensions',
    ['request/extensions.ts', 'export const MAX_OFFERS = 8', 'export const MAX_OFFERS = 8_000'],
  ],
  [
    'no offer is echoed',
    'connections.subprotocols',
    'echoes no offer',
    ['pipeline/welcome.ts', '    request.protocols,\n  );', '    request.protocols,\n  ) ?? request.protocols[0];'],
  ],
  [
    'a refusal repeats nothing of the request',
    'a short generic body that repeats nothing',
    'repeats nothing of what was asked',
    [
      'pipeline/opening.ts',
      'refusalText(refusal, serverHeader)',
      'refusalText({ ...refusal, text: this.passage?.head.target ?? refusal.text }, serverHeader)',
    ],
  ],
]);

const SHARED = group('attack/opening/http.spec.ts', 'express, shared port, plaintext ', [
  [
    'later requests meet the limits: lines',
    'http.maxLineLength',
    'refuses a line that is too long in a later request',
    ['pipeline/stages.ts', 'measureHead(head, port.headLimits) ?? checkRequest(head)', 'checkRequest(head)'],
  ],
  [
    'later requests meet the limits: number of lines',
    'http.maxNumHeaders',
    'refuses too many lines in a later request',
    ['pipeline/stages.ts', 'measureHead(head, port.headLimits) ?? checkRequest(head)', 'checkRequest(head)'],
  ],
  [
    'no upgrade is pipelined',
    'one that was pipelined behind an unanswered request is refused',
    'refuses an upgrade behind an unanswered request',
    ['listener/shared-port.ts', 'if (unanswered(socket) !== undefined) opening', 'if (false) opening'],
  ],
  [
    'no upgrade that our parser has not read (smuggling)',
    'Node’s own limits for every other head',
    'takes no upgrade from a parser that overlooks what ours counts',
    ['listener/shared-port.ts', 'request[UNREAD] = isFirst', 'request[UNREAD] = false'],
  ],
]);

const FOREIGN = group('attack/opening/http.spec.ts', 'other upgrades on the same server ', [
  [
    'unknown paths are nobody’s',
    'foreignUpgrades: refuse',
    'are refused where that is asked for',
    ['listener/shared-port.ts', "this.engine.settings.foreignUpgrades === 'auto' && ", ''],
  ],
  [
    'an upgrade for others is no error of nobody',
    'the raw socket has an error listener from its first moment to its last',
    'are left to their listeners',
    ['listener/shared-port.ts', "    socket.on('error', ignore);\n", ''],
  ],
  [
    'what is ours is told to nobody else',
    'foreignUpgrades',
    'see nothing of ours',
    ['listener/shared-port.ts', "(event === 'upgrade' && claimed(...args)) || ", ''],
  ],
]);

const LIFE = group('attack/opening/life.spec.ts', '', [
  [
    'a head must be complete in time',
    'http.openTimeout: 408',
    'the open timeout: express, own port, plaintext closes who says nothing',
    ['pipeline/opening.ts', 'engine.clock.now() + port.openTimeout', 'NEVER'],
  ],
  [
    'TLS must be set up in time',
    'http.openTimeout, TLS included',
    'the open timeout: fastify, own port, TLS takes TLS in',
    ['pipeline/opening.ts', 'engine.clock.now() + port.openTimeout', 'NEVER'],
    ['listener/own-port.ts', 'Math.min(this.openTimeout + 1000, LONGEST_TIMER)', 'LONGEST_TIMER'],
  ],
  [
    'a complete head must be decided in time',
    'http.openTimeout: 503',
    'the open timeout: express, own port, plaintext ends a head that is complete with 503',
    ['pipeline/opening.ts', 'engine.clock.now() + port.openTimeout', 'NEVER'],
    [
      'pipeline/stages.ts',
      'timeout: Math.max(0, endpoint.limits.hookTimeout - passage.guardTime)',
      'timeout: Infinity',
    ],
  ],
  [
    'a refusal is final',
    'no later byte is read as a request',
    'a refusal is final: express, shared port, plaintext takes nothing behind it',
    [
      'pipeline/opening.ts',
      '    if (!this.wire.conclude(refusalText(refusal, serverHeader))) this.drop();',
      "    this.leave('refused');\n    const socket = this.wire.release()!;\n    socket.write(refusalText(refusal, serverHeader), 'latin1');\n    this.port.handOver(socket, Buffer.alloc(0));",
    ],
  ],
  [
    'a refusal lingers for a second',
    'at most one second of discarding',
    'a refusal is final: express, own port, plaintext takes nothing behind it',
    ['pipeline/opening.ts', 'const LINGER = 1000', 'const LINGER = 100_000'],
  ],
  [
    'a refusal discards 64 KiB',
    'at most 64 KiB of discarding',
    'a refusal is final: express, shared port, plaintext reads no more than a little',
    ['pipeline/opening.ts', 'const MAX_DISCARD = 64 * 1024', 'const MAX_DISCARD = 64 * 1024 * 1024'],
  ],
  [
    'heads hold at most 16 MiB together',
    'unfinished heads hold at most 16 MiB together',
    'memory for heads: express, own port, plaintext is at most 16 MiB',
    ['pipeline/engine.ts', 'MAX_HEAD_BYTES = 16 * 1024 * 1024', 'MAX_HEAD_BYTES = 1024 * 1024 * 1024'],
  ],
  [
    'who holds most goes first',
    'unfinished heads hold at most 16 MiB together',
    'memory for heads: express, own port, plaintext is at most 16 MiB',
    [
      'pipeline/held-heads.ts',
      'return largest(ofMost, ({ heldBytes }) => heldBytes);',
      'return [...this.holders][0]!;',
    ],
  ],
  [
    'a TLS hello gets no plaintext answer',
    'own ports',
    'ports of their own close a TLS hello without TLS',
    ['pipeline/opening.ts', 'chunk[0] === TLS_HELLO', 'false'],
  ],
  [
    'every server of Fastify’s is protected',
    'a server that Nest’s platform opens beside the first is metered too',
    'ports that Fastify opens beside the first are protected too',
    ['listener/secondary-servers.ts', "if (httpAdapter.getType?.() !== 'fastify') return;", 'return;'],
  ],
  [
    'nobody is left on the way in at the end',
    'closing the application also ends sockets that are still on this way',
    'closing the application: express, own port, plaintext ends who is on the way in',
    ['pipeline/drain.ts', 'for (const port of ports) port.shutDown(REFUSALS.shutdown);', ''],
  ],
]);

const ADDRESSES = group('attack/admission/addresses.spec.ts', '', [
  [
    'denied addresses are dropped at accept',
    'connections.deniedIps; stage 0',
    'lists of addresses on express drop a denied address at accept',
    ['listener/port.ts', 'if (!isProxy && !isAddressAllowed(peer, addressRules)) return REFUSALS.addressDenied;', ''],
  ],
  [
    'only allowed addresses connect',
    'connections.allowedIps; stage 0',
    'lists of addresses allow only who is allowed',
    ['admission/ip/address-rules.ts', 'rules.allowed === undefined || rules.allowed.has(address)', 'true'],
  ],
  [
    'denied clients behind a proxy',
    'connections.deniedIps; stage 5',
    'lists of addresses judge the client behind a trusted proxy',
    transportWithout('refuseTls, refuseHost, refuseOrigin'),
  ],
  [
    'strangers are not believed',
    'proxy.trusted',
    'forwarding headers are read from the right',
    ['admission/proxy/client-route.ts', 'if (!rules.trusted.has(peer)) return direct(peer, tls, rawHeaders);', ''],
  ],
  [
    'forwarding headers are read from the right',
    'proxy.trusted',
    'forwarding headers are read from the right',
    ['admission/proxy/client-route.ts', 'if (!rules.trusted.has(hop)) return address;', ''],
  ],
  [
    'one family of forwarding headers',
    'proxy.header',
    'forwarding headers are read from the right',
    [
      'admission/proxy/client-route.ts',
      "const isForwarded = rules.header === 'forwarded';",
      "const isForwarded = rawHeaders.includes('Forwarded');",
    ],
  ],
  [
    'the nearest proxy says whether it was TLS',
    'proxy.requireTls',
    'forwarding headers satisfy requireTls when the nearest trusted proxy says https',
    [
      'admission/proxy/client-route.ts',
      "const nearest = elementsFromRight(rawHeaders, isForwarded ? 'forwarded' : 'x-forwarded-proto', isForwarded).next();",
      "const nearest = { done: false, value: [...elementsFromRight(rawHeaders, 'x-forwarded-proto', false)].at(-1)! };",
    ],
  ],
  [
    'TLS is required',
    'proxy.requireTls',
    'requireTls refuses plaintext',
    transportWithout('refuseHost, refuseOrigin, refuseAddress'),
  ],
  [
    'production must choose',
    'proxy.requireTls',
    'requireTls must be chosen in production',
    ['secure-ws.runtime.ts', "this.environment().get('NODE_ENV') === 'production'", 'false'],
  ],
  [
    'pages of other origins are refused',
    'connections.allowedOrigins',
    'origins must be the same by default',
    [
      'admission/origin/judge-origin.ts',
      'if (origin === undefined || !isSameOrigin(origin, host, secure))',
      'if (false)',
    ],
  ],
  [
    'DNS rebinding',
    'connections.allowedOrigins',
    'origins must be the same by default',
    ['admission/origin/judge-origin.ts', 'if (isLocalPeer && !isLocalName(host.name))', 'if (false)'],
  ],
  [
    'the scheme is a part of the origin',
    'connections.allowedOrigins',
    'origins behind a trusted proxy may have any name',
    [
      'admission/origin/judge-origin.ts',
      'if (secure !== undefined && origin.scheme !== scheme(secure)) return false;',
      '',
    ],
  ],
  [
    'wildcards stand for whole labels',
    'connections.allowedOrigins',
    'origins may be listed',
    ['admission/host/host-name.ts', 'host.endsWith(suffix) && LABELS', 'host.endsWith(suffix.slice(1)) && LABELS'],
  ],
  [
    'null must be named',
    'connections.allowedOrigins',
    'origins may be listed',
    [
      'admission/origin/allowed-origins.ts',
      "if (origin === 'null') return this.#null;",
      "if (origin === 'null') return true;",
    ],
  ],
  [
    'hosts may be limited',
    'connections.allowedHosts',
    'origins and the Host may be limited',
    transportWithout('refuseTls, refuseOrigin, refuseAddress'),
  ],
]);

const CAPACITY = group('attack/admission/capacity.spec.ts', '', [
  [
    'connections in all',
    'connections.max',
    'capacity max is exact',
    ['admission/capacity/capacity.ts', 'return this.#used >= this.limits.max;', 'return false;'],
  ],
  [
    'connections of an address',
    'connections.maxPerIp',
    'capacity maxPerIp is exact',
    ['stores/memory-store.ts', 'if (address.isFull(max)) return false;', ''],
  ],
  [
    'who has no room at an own port costs no TLS',
    'stage 0: connection caps of own ports',
    'capacity of an own port costs who has no room no TLS',
    ['listener/own-port.ts', 'const full = capacity.breach(addresses.live(peer));', 'const full = undefined;'],
  ],
  [
    'connections of a gateway',
    'connections.max of a gateway',
    'capacity of a gateway holds beside',
    ['admission/capacity/capacity.ts', 'if (gateway.isFull) return CAPACITY_REFUSALS.gateway;', ''],
  ],
  [
    'slots are reserved before guards run',
    'stage 6 reserves a slot',
    'capacity max is exact',
    ['admission/capacity/capacity.ts', '    this.#used++;\n', '    setTimeout(() => this.#used++, 5);\n'],
  ],
  [
    'slots are freed by who is turned away',
    'a refused attempt leaves nothing behind',
    'capacity is freed on every way out',
    ['pipeline/passage.ts', 'this.reservation?.release();', ''],
  ],
  [
    'slots are freed by who leaves',
    'a connection holds its slot until TCP ends',
    'capacity is freed on every way out',
    ['connection/connection.ts', 'this.peer.release();', ''],
  ],
  [
    'slots are freed once',
    'a connection holds one slot',
    'capacity is freed on every way out',
    ['admission/capacity/reservation.ts', '    this.#isHeld = false;\n', ''],
    ['connection/connection.ts', 'this.peer.release();', 'this.peer.release(); this.peer.release();'],
    ['pipeline/welcome.ts', 'if (this.isReleased) return;', ''],
  ],
  [
    'attempts of an address',
    'connections.rate',
    'the rate of an address counts every attempt once',
    ['pipeline/stages.ts', 'return chargeAttempt(engine.store, passage.entry);', 'return undefined;'],
  ],
  [
    'attempts that end in their head count too',
    'connections.rate, whatever becomes of them',
    'the rate of an address counts every attempt once',
    ['pipeline/opening.ts', 'if (isAttempt) void', 'if (false) void'],
  ],
  [
    'a refused attempt is free',
    'connections.rate: a 429 itself is free',
    'the rate of an address counts every attempt once',
    [
      'stores/memory-store.ts',
      'if (!fits(next, now, this.rate) ||',
      'if (((address.attempts = next), !fits(next, now, this.rate)) ||',
    ],
  ],
  [
    'pending handshakes in all',
    'connections.maxPending',
    'a house full of pending handshakes drops the oldest of the address that has most; everybody else gets in (own',
    ['admission/capacity/pending.ts', 'this.#size > this.limits.max', 'false'],
  ],
  [
    'a crowd crowds out itself',
    'connections.maxPending',
    'a house full of pending handshakes drops the oldest of the address that has most; everybody else gets in (own',
    [
      'admission/capacity/pending.ts',
      'return this.#bySize[this.#most]?.first?.entry;',
      'return this.#bySize.find((crowds) => crowds?.first !== undefined)?.first?.entry;',
    ],
  ],
  [
    'pending handshakes of an address',
    'connections.maxPendingPerIp',
    'a house full of pending handshakes keeps each address to its share',
    ['admission/capacity/pending.ts', 'entry.pending > this.limits.maxPerIp ||', 'false ||'],
  ],
  [
    'connections of a user',
    'connections.maxPerUser',
    'a user has at most so many connections',
    ['pipeline/user-caps.ts', "limit.onLimit === 'refuse' && slots.count(key) >= limit.max", 'false'],
  ],
  [
    'the oldest connection of a user is closed',
    'connections.onUserLimit',
    'a user may have the oldest closed instead',
    ['pipeline/user-caps.ts', 'connection.end(CloseCode.POLICY_VIOLATION, TOO_MANY);', ''],
  ],
  [
    'the log is sampled',
    'telemetry: a line per reason and ten seconds',
    'what happened is counted, published, and in the log sampled',
    ['telemetry/log.ts', 'if (now - sample.since < PERIOD)', 'if (false)'],
  ],
  [
    'lines of the log are short',
    'telemetry: at most 1 KiB',
    'what happened is counted, published, and in the log sampled',
    ['telemetry/log.ts', 'path.slice(0, MAX_PATH)', 'path'],
    ['telemetry/log.ts', 'while (Buffer.byteLength(cut) > MAX_LINE)', 'while (false)'],
    ['telemetry/log.ts', '    .slice(0, MAX_LINE)\n', ''],
  ],
  [
    'the log shows no userinfo or query of an origin',
    'telemetry: no secrets',
    'what happened is counted, published, and in the log sampled',
    ['admission/origin/judge-origin.ts', 'shown(origin)', 'origin'],
  ],
]);

const GUARDS = group('attack/admission/guards.spec.ts', 'a guard ', [
  [
    'guards have so much time',
    'connections.guardTimeout: 503',
    'that never answers is 503 with an aborted signal',
    [
      'pipeline/stages.ts',
      'timeout: Math.max(0, endpoint.limits.hookTimeout - passage.guardTime)',
      'timeout: Infinity',
    ],
  ],
  [
    'guards that took too long are told',
    'connections.guardTimeout: their AbortSignal fires',
    'that never answers is 503 with an aborted signal',
    [
      'admission/guard-runner.ts',
      "abortAttempt(this.attempt, new DOMException('the guards took too long', 'TimeoutError'));",
      '',
    ],
    [
      'pipeline/passage.ts',
      "if (this.attempt !== undefined) abortAttempt(this.attempt, new DOMException(reason, 'AbortError'));",
      '',
    ],
  ],
  [
    'guards are told that the peer has left',
    'UpgradeAttempt.signal',
    'is told by its signal when the peer leaves in the middle (reset)',
    [
      'pipeline/passage.ts',
      "if (this.attempt !== undefined) abortAttempt(this.attempt, new DOMException(reason, 'AbortError'));",
      '',
    ],
  ],
  [
    'nobody is let in who has left',
    'a refused attempt leaves nothing behind',
    'that answers after the peer has left lets nobody in',
    ['pipeline/passage.ts', '    if (this.over) return;\n    this.over = true;', '    if (this.over) return;'],
    ['admission/guard-runner.ts', 'onAttemptEnd(this.attempt, () => this.#finish(ABANDONED));', ''],
    ['listener/handle-wire.ts', 'if (this.reader === undefined) return undefined;', ''],
  ],
  [
    'a guard that throws lets nobody in',
    'a guard that throws is 500',
    'that fails is 500 and told once',
    ['admission/guard-runner.ts', 'return this.#thrown(error);', 'continue;'],
  ],
  [
    'errors of guards are logged without secrets',
    'a guard that throws is 500 and logged',
    'that fails is 500 and told once',
    [
      'admission/guard-failure.ts',
      "return secrets.reduce((text, secret) => text.replaceAll(secret, '…'), words);",
      'return words;',
    ],
  ],
]);

const ANSWERS = group('unit/admission/guards.spec.ts', 'an answer ', [
  [
    'no CR LF from a guard',
    'what a guard wants on the wire is validated',
    'is an error of the guard: CR LF in a header',
    ['admission/guard-answer.ts', "typeof text !== 'string' || !FIELD_VALUE.test(text)", "typeof text !== 'string'"],
  ],
  [
    'no hop-by-hop header from a guard',
    'what a guard wants on the wire is validated',
    'is an error of the guard: Transfer-Encoding',
    ['admission/guard-answer.ts', 'if (FORBIDDEN.test(name)) throw', 'if (false) throw'],
  ],
  [
    'no status that lets somebody in',
    'status 400–599 or 3xx with Location',
    'is an error of the guard: status 101',
    ['admission/guard-answer.ts', 'if (!Number.isInteger(status) || !(isRedirect', 'if (false && !(isRedirect'],
  ],
  [
    'only allow() and true let somebody in',
    'AdmissionGuard',
    'is an error of the guard: an object',
    [
      'admission/guard-answer.ts',
      "throw new BadAnswer('it answered neither true, false, allow() nor refuse()');",
      "return checkAllow({ decision: 'allow' }, offered, now);",
    ],
  ],
  [
    'no session that has ended',
    'expiresAt in the past is 401',
    'is 401 when its session has ended already',
    ['admission/guard-answer.ts', 'if (expiresAt <= now) return EXPIRED;', ''],
  ],
  [
    'a subprotocol that was offered',
    'connections.subprotocols',
    'is an error of the guard: a subprotocol that was not offered',
    ['admission/guard-answer.ts', 'if (!offered.includes(subprotocol)) throw', 'if (false) throw'],
  ],
]);

const TLS = group('attack/admission/tls.spec.ts', 'TLS on a port of our own ', [
  [
    'client certificates are verified',
    'tls.requestCert',
    'shows a verified client certificate to guards, and refuses any other',
    ['listener/own-port.ts', 'rejectUnauthorized: requestCert', 'rejectUnauthorized: false'],
  ],
  [
    'old versions of TLS are refused',
    'tls.minVersion',
    'speaks no plaintext, no garbage and no old version',
    ['listener/own-port.ts', '      minVersion,\n', ''],
  ],
]);

const ADDRESS_UNITS = [
  ...group('unit/admission/capacity.spec.ts', 'Capacity ', [
    [
      'a /48 has eight times the slots of a prefix',
      'connections.ipv6Prefix',
      'caps an address with 429, an IPv6 prefix likewise, and a /48 at eight times as much',
      ['stores/address-entry.ts', ' || (this.site !== undefined && this.site.connections >= max * SITE_FACTOR);', ';'],
    ],
  ]),
  ...group('unit/admission/address.spec.ts', '', [
    [
      'an IPv6 prefix counts as one',
      'connections.ipv6Prefix',
      'parseAddress counts IPv6 by prefix, IPv4 by address',
      [
        'admission/address.ts',
        'formatIPv6(words), 6, prefixKey(words, ipv6Prefix)',
        'formatIPv6(words), 6, formatIPv6(words)',
      ],
    ],
    [
      'embedded IPv4 counts as IPv4',
      'connections.ipv6Prefix: mapped, NAT64',
      'AddressList matches an address that embeds IPv4 as IPv4',
      ['admission/address.ts', 'if (embedded !== undefined) return fromIPv4(embedded, words);', ''],
    ],
  ]),
  ...group('unit/connection/deadlines.spec.ts', 'the ledger ', [
    [
      'who holds little stays',
      'buffers.budget: under 64 KiB is never chosen',
      'ends the largest of an address that is past its share, and nobody under 64 KiB',
      ['connection/ledger.ts', 'export const NEVER_CHOSEN = 64 * 1024;', 'export const NEVER_CHOSEN = 1;'],
    ],
    [
      'memory of a /48',
      'buffers.maxPerIp, connections.ipv6Prefix',
      'lets a /48 hold eight times as much as one of its prefixes',
      ['connection/ledger.ts', 'site !== undefined && site.heldBytes > this.maxPerIp * SITE_FACTOR', 'false'],
    ],
  ]),
  ...group('unit/stores/stores.spec.ts', 'AddressTable ', [
    [
      'what is remembered of addresses is bounded',
      'connections.rate',
      'stays bounded under any number of distinct addresses',
      ['stores/address-table.ts', 'if (!isExempt && !this.#hasRoom()) return this.#shared.of(address.network);', ''],
    ],
  ]),
];

const INCOMING = group('attack/live/incoming.spec.ts', '', [
  [
    'behind an error nothing is parsed',
    'nothing that a peer sends may end the process',
    'what is no frame is the last that is parsed, though it has waited with more until a message was inflated: no UTF-8',
    ['connection/ws-internals.ts', 'if (this._errored) callback();\n  else parse', 'parse'],
  ],
  [
    'messages are measured as bytes, whatever form listeners are told them in',
    'messages.byteRate, buffers.budget',
    'handlers in flight wait, and are counted, as bytes',
    [
      'connection/receiver.ts',
      '    return BYTES;\n',
      '    return this.connection === undefined ? BYTES : this.internals.binaryType;\n',
    ],
  ],
  [
    'messages that wait for their turn are counted',
    'buffers.budget: incomplete and waiting messages',
    'handlers in flight are counted, too, where the first had to wait for its turn',
    ['connection/intake.ts', 'isUnderWay || messages > 0 ||', 'isUnderWay || this.running > 0 ||'],
  ],
  [
    'size by declared length',
    'messages.maxSize: a declared length counts',
    'size is judged on the declared length: one byte more than allowed',
    ['connection/receiver.ts', 'maxPayload: maxSize', 'maxPayload: 0'],
  ],
  [
    'size of all fragments',
    'messages.maxSize',
    'size is judged on the sum of fragments',
    ['connection/receiver.ts', 'maxPayload: maxSize', 'maxPayload: 0'],
  ],
  [
    'size after decompression (bombs)',
    'messages.maxSize',
    'size is judged on what came out of decompression',
    [
      'compression/peer-deflate.ts',
      'return maxRatio === undefined ? maxSize :',
      'return maxRatio === undefined ? Infinity :',
    ],
    ['connection/receiver.ts', 'maxPayload: maxSize', 'maxPayload: 0'],
  ],
  [
    'number of fragments',
    'messages.maxFragments',
    'unfinished messages have a bounded number of fragments',
    ['connection/receiver.ts', '      maxFragments,', '      maxFragments: 0,'],
  ],
  [
    'fragments cost of the message rate',
    'messages.maxFragments',
    'unfinished messages cost one message of the rate for every sixteen fragments',
    ['connection/receiver.ts', 'if (!this._fin) this.intake.fragment();', ''],
  ],
  [
    'a message must be complete in time',
    'messages.assemblyTimeout',
    'unfinished messages must be complete in time: a fragment',
    ['connection/connection.ts', 'if (this.isOpen && now >= this.assemblyBy)', 'if (false)'],
  ],
  [
    'message rate',
    'messages.rate',
    'rates of messages',
    ['connection/intake.ts', "if (!this.meters.message(now, limits)) return this.breach('message rate exceeded');", ''],
  ],
  [
    'control rate: pings',
    'messages.controlRate',
    'rates of pings',
    ['connection/receiver.ts', 'if (!this.intake.controlFrame()) return;', ''],
  ],
  [
    'control rate: unasked pongs',
    'messages.controlRate',
    'rates of pongs that nobody asked for',
    [
      'connection/receiver.ts',
      'if (!connection.keepalive.pong(data) && !this.intake.controlFrame()) return;',
      'connection.keepalive.pong(data);',
    ],
  ],
  [
    'strikes',
    'messages.strikes',
    'rates of malformed messages',
    ['connection/meters.ts', 'return fits(this.strikes, now, strikes);', 'return true;'],
  ],
  [
    'rate of one handler',
    '@MessageRate',
    'rates of one handler: its excess is answered',
    ['dispatch/handler-table.ts', 'if (!fits(next, now, rate)) return false;', ''],
  ],
  [
    'byte rate of a connection',
    'messages.byteRate',
    'rates of bytes pause the reading of a connection',
    ['connection/intake.ts', 'if (wait > 0) this.reading.pauseUntil(now + wait);', ''],
  ],
  [
    'byte rate of an address',
    'messages.byteRatePerIp',
    'rates of bytes hold for an address together',
    ['connection/meters.ts', 'if (account === undefined) return own;', 'return own;'],
  ],
  [
    'a flood behind the end is not read',
    'messages.rate: 1008',
    'rates of a flood that goes on after the end',
    ['connection/intake.ts', 'if (++this.framesAfterEnd > FRAMES_AFTER_END)', 'if (false)'],
  ],
  [
    'waiting messages: number',
    'messages.maxQueue',
    'handlers in flight wait up to maxQueue',
    ['connection/intake.ts', 'if (full || heavy)', 'if (heavy)'],
  ],
  [
    'waiting messages: bytes',
    'messages.maxQueueBytes',
    'handlers in flight wait up to maxQueueBytes',
    ['connection/intake.ts', 'if (full || heavy)', 'if (full)'],
  ],
  [
    'waiting messages stay compressed',
    'messages.maxQueueBytes',
    'handlers in flight wait compressed',
    ['connection/receiver.ts', 'else if (intake.reading.paused) intake.assembly.postpone(data, callback);', ''],
  ],
  [
    'handlers of a connection at once',
    'messages.concurrency',
    'handlers in flight one at a time and in order',
    ['connection/intake.ts', 'this.running < context.limits.concurrency && ', ''],
  ],
  [
    'handlers have so much time',
    'messages.handlerTimeout',
    'handlers in flight that never answer hold their own connection only',
    ['dispatch/dispatcher.ts', 'connection.receiving!.turnStart + this.options.handlerTimeout', 'NEVER'],
  ],
  [
    'one peer does not hold the event loop',
    'yields after 256 KiB or 2 ms',
    'fairness a turn of the event loop handles no more than 256 KiB',
    ['connection/intake.ts', 'if (!isOver && (!isLarge || turns.hasRoomFor(size))) return true;', 'return true;'],
  ],
]);

const OUTGOING = group('attack/live/outgoing.spec.ts', 'a peer that does not read ', [
  [
    'slow readers are closed',
    'buffers.maxBuffered: 1013',
    'is told why, when it reads after all',
    [
      'connection/output.ts',
      "if (this.held - this.oversize > limits.maxBuffered) return connection.endForMemory('slow reader');",
      '',
    ],
  ],
  [
    'who does not read is not read',
    'buffers.writeLimit',
    'does not have its waiting messages handled',
    [
      'connection/output.ts',
      'if (pending > context.limits.writeLimit) connection.intake.pauseForOutput();\n    else',
      '',
    ],
  ],
  [
    'of many pings the last is answered',
    'buffers.writeLimit',
    'is not read from, and of its pings only the last is answered',
    [
      'connection/output.ts',
      'if (this.pending > this.connection.context.limits.writeLimit) this.lastPing = Buffer.from(data);\n    else ',
      '',
    ],
    [
      'connection/output.ts',
      'if (pending > context.limits.writeLimit) connection.intake.pauseForOutput();\n    else',
      '',
    ],
  ],
  [
    'the oldest byte must leave in time',
    'buffers.stallTimeout',
    'is terminated when it takes nothing',
    ['connection/connection.ts', "if (this.sending?.isStalled(now)) return this.gone('peer does not read');", ''],
  ],
  [
    'the kernel keeps nothing for who does not read',
    'terminated: by a reset',
    'is terminated when it takes nothing',
    ['connection/connection.ts', 'if (this.raw.writableLength > 0) reset(this.raw);', ''],
  ],
]);

const BUDGET = group('attack/live/budget.spec.ts', 'the budget ', [
  [
    'memory in all',
    'buffers.budget',
    'in all: at the cost of those who hold most',
    ['connection/ledger.ts', 'if (this.total <= this.budget) return;', 'return;'],
  ],
  [
    'memory of an address',
    'buffers.maxPerIp',
    'per address: the largest connection of the address',
    ['connection/ledger.ts', 'if (account.heldBytes > this.maxPerIp)', 'if (false)'],
  ],
  [
    'the address that holds most goes first',
    'buffers.budget: the largest of the address that holds most',
    'in all: at the cost of those who hold most',
    [
      'connection/ledger.ts',
      'for (const [account, held] of sums) if (held > sum) [most, sum] = [account, held];',
      'for (const [account] of sums) most ??= account;',
    ],
  ],
  [
    'what waits is given back at once',
    'ending a connection for memory',
    'gives back at once what waits',
    [
      'connection/connection.ts',
      '    this.output.drop();\n    this.socket.close(CloseCode.TRY_AGAIN_LATER',
      '    this.socket.close(CloseCode.TRY_AGAIN_LATER',
    ],
  ],
  [
    'the socket goes after a second',
    'ending a connection for memory',
    'gives back at once what waits',
    ['connection/connection.ts', 'const MEMORY_GRACE = 1000', 'const MEMORY_GRACE = 100_000'],
  ],
]);

const LIFETIME = group('attack/live/lifetime.spec.ts', '', [
  [
    'the handshake of closing does not wait for handlers',
    'keepalive.closeTimeout',
    'closing comes to its end although a listener has begun it',
    ['connection/intake.ts', '    if (!isOpen) return;\n    const { limits }', '    const { limits }'],
  ],
  [
    'pings want their pong',
    'keepalive.pingTimeout',
    'keepalive terminates a peer that answers with nothing',
    ['connection/keepalive.ts', "else if (now >= this.pongBy()) connection.kill('no pong');", ''],
  ],
  [
    'a pong must be the answer',
    'keepalive.pingTimeout: matching pong',
    'keepalive terminates a peer that answers with another payload',
    [
      'connection/keepalive.ts',
      'question === undefined || data.length !== 4 || data.readUInt32BE(0) !== question.number',
      'question === undefined',
    ],
  ],
  [
    'deadlines stand still while we do not read',
    'deadlines about a silent peer',
    'keepalive does not count the time in which we did not read',
    [
      'connection/keepalive.ts',
      'return this.question === undefined || this.connection.isPaused\n',
      'return this.question === undefined\n',
    ],
  ],
  [
    'idle peers leave',
    'keepalive.idleTimeout',
    'keepalive ends an idle peer',
    ['connection/keepalive.ts', 'now >= connection.lastMessageAt + idleTimeout &&', 'false &&'],
  ],
  [
    'connections have an end',
    'keepalive.maxLifetime',
    'keepalive ends after its time',
    ['connection/keepalive.ts', 'now >= (this.lifeEndsAt ?? NEVER)', 'false'],
  ],
  [
    'sessions expire',
    'expiresAt: 4401',
    'sessions end with 4401 at their time',
    ['connection/keepalive.ts', 'if (now >= (this.sessionEndsAt ?? NEVER))', 'if (false)'],
  ],
  [
    'closing takes so long',
    'keepalive.closeTimeout',
    'closing of a peer that answers the close frame and stays',
    ['connection/connection.ts', 'this.goneWithin(this.context.limits.closeTimeout);', ''],
    ['connection/limits.ts', 'Math.min(keepalive.closeTimeout, LONGEST_TIMER)', 'LONGEST_TIMER'],
  ],
  [
    'a slot is free when TCP has ended',
    'keepalive.closeTimeout',
    'closing of a peer that answers the close frame and stays',
    [
      'connection/connection.ts',
      '    if (this.goneBy !== undefined) return;\n',
      '    this.peer.release();\n    if (this.goneBy !== undefined) return;\n',
    ],
  ],
  [
    'half-closed peers end',
    'keepalive.closeTimeout',
    'closing ends a peer that has half-closed and does not read what is left',
    ['connection/listeners.ts', '  connection.closing();\n', ''],
    ['connection/connection.ts', 'if (!this.isOpen) this.closing();', ''],
    ['connection/limits.ts', 'Math.min(keepalive.closeTimeout, LONGEST_TIMER)', 'LONGEST_TIMER'],
  ],
  [
    'what is no frame ends the connection',
    '1002',
    'closing says why: no mask',
    ['connection/receiver.ts', "    else if (event === 'error') this.onError(first as Error);\n", ''],
  ],
]);

const SURVIVAL = group('e2e/survival.spec.ts', '', [
  [
    'a reset is no error of nobody',
    'the raw socket has an error listener from its first moment',
    'a process survives a reset at every point of a handshake and of a message: front',
    ['listener/socket-wire.ts', "    socket.on('error', onGone);\n", ''],
  ],
]);

const ARRIVALS = group('attack/opening/arrivals.spec.ts', '', [
  [
    'a connection that another server gives away meets the limits',
    'every head is held to the limits, whatever server it came to',
    'a connection that comes from another server meets every limit',
    [
      'listener/shared-port.ts',
      'if (!HandleWire.adopt(socket)) this.accept(socket)?.read();',
      'if (!HandleWire.adopt(socket)) serve(socket);',
    ],
  ],
  [
    'a server that listens already has its connections taken once',
    'an application’s HTTP server is as if we were not there',
    'a server that was told to listen just before the application starts is protected once',
    ['listener/handle.ts', ' || handle === taken', ''],
  ],
  [
    'a closed server waits for who is on the way in',
    'an application’s HTTP server is as if we were not there',
    'a server that is closed while somebody is on the way in has closed when the last has gone',
    ['listener/handle.ts', '    server._connections += change;\n', ''],
    ['listener/handle.ts', '    server._connections--;\n', ''],
  ],
  [
    'a server’s own maxConnections holds at accept',
    'an application’s HTTP server is as if we were not there',
    'a server with maxConnections drops what is too much',
    ['listener/port.ts', 'isTls || server.maxConnections > 0 || ', 'isTls || '],
  ],
]);

const SHUTDOWN = group('attack/live/shutdown.spec.ts', 'shutdown ', [
  [
    'peers are told at shutdown',
    'shutdown: 1001',
    'takes no time with idle peers, and tells them',
    ['pipeline/drain.ts', 'if (drainTimeout > 0) sayGoodbye(engine, drainTimeout);', ''],
  ],
  [
    'running handlers are awaited',
    'shutdown.drainTimeout',
    'awaits handlers that run',
    ['connection/connection.ts', 'if (!this.receiving?.running) this.end(code, reason);', 'this.end(code, reason);'],
  ],
  [
    'what is left is terminated',
    'shutdown.drainTimeout',
    'terminates what is left in the end',
    ['pipeline/drain.ts', 'this.wait(drainTimeout, () => this.terminate());', ''],
  ],
  [
    'many are told over time',
    'shutdown: jittered batches',
    'tells a hundred at once and the others over half of the time',
    ['pipeline/drain.ts', 'if (index < AT_ONCE) goodbye(connection);', 'if (true) goodbye(connection);'],
  ],
  [
    'nobody comes in during the shutdown',
    'shutdown: new upgrades 503',
    'awaits handlers that run',
    ['pipeline/stages.ts', 'if (engine.draining) return REFUSALS.shutdown;', ''],
    ['pipeline/stages.ts', ' ?? (engine.draining ? REFUSALS.shutdown : undefined)', ''],
  ],
]);

const DISPATCH = group('e2e/dispatch.spec.ts', '', [
  [
    'messages wait for handleConnection',
    'handleConnection has settled before the first message',
    'hooks of several gateways run once each, before the first message',
    ['connection/intake.ts', 'return isFree && isOpen && ready && leaving', 'return isFree && isOpen && leaving'],
  ],
  [
    'nobody is in a broadcast too early',
    'handleConnection has settled before the peer is in any broadcast',
    'the broadcaster reaches nobody whose handleConnection has not settled',
    [
      'pipeline/endpoint.ts',
      '    connection.whenReady(() => {\n      if (!connection.ended) this.server.clients.add(socket);\n    });',
      '    this.server.clients.add(socket);',
    ],
  ],
  [
    'a hook that rejects closes',
    'handleConnection: 1011',
    'hooks that reject close with 1011',
    [
      'connection/connection.ts',
      "    this.context.telemetry.fault('handleConnection', error, this.context.path);\n    this.end(CloseCode.INTERNAL_ERROR, 'internal error');",
      '',
    ],
  ],
  [
    'a hook that never settles closes',
    'connections.guardTimeout: 1011',
    'hooks that never settle close with 1011 in time',
    ['connection/connection.ts', 'if (now >= this.hooksBy) this.hooksOverdue();\n    this.receiving', 'this.receiving'],
  ],
  [
    'filters that fail are caught',
    'a filter that throws or rejects is caught and logged',
    'errors of filters are counted and answered',
    ['dispatch/hooks.ts', "  wrap(filter as object, 'catch', filterCatch);\n", ''],
  ],
  [
    'filters repeat no payload',
    'an error reply is never the client’s payload',
    'errors go through the filters of the application, which repeat no payload',
    ['dispatch/hooks.ts', '.options.includeCause = false;', '.options.includeCause = true;'],
  ],
  [
    'errors say nothing of their insides',
    'an error reply is never an inner error',
    'errors say what an application says, and nothing of their insides',
    [
      'dispatch/exceptions.ts',
      "  return { status: 'error', message: UNKNOWN };",
      "  return { status: 'error', message: (exception as Error).message };",
    ],
  ],
  [
    'error replies are short',
    'an error reply is at most 1 KiB',
    'errors are at most 1 KiB',
    [
      'dispatch/exceptions.ts',
      'if (text !== undefined && Buffer.byteLength(text) <= MAX_REPLY) return text;',
      'if (text !== undefined) return text;',
    ],
  ],
  [
    'prototype pollution: __proto__',
    'messages.strikes: malformed',
    'hostile messages __proto__: an exception',
    ['dispatch/parse.ts', "protoAction: 'error'", "protoAction: 'ignore'"],
  ],
  [
    'prototype pollution: constructor',
    'messages.strikes: malformed',
    'hostile messages constructor.prototype: an exception',
    ['dispatch/parse.ts', "constructorAction: 'error'", "constructorAction: 'ignore'"],
  ],
  [
    'depth of messages',
    'messages.strikes: malformed',
    'hostile messages a depth of 100 000: an exception',
    ['dispatch/parse.ts', 'if (data.length > MAX_DEPTH && isTooDeep(data)) return undefined;', ''],
  ],
  [
    'observables that still emit',
    'messages.maxStreams',
    'limits of handlers streams are bounded',
    ['dispatch/dispatcher.ts', 'if (streams.size < this.options.maxStreams) return', 'return'],
  ],
  [
    'observables end with their peer',
    'messages.maxStreams',
    'limits of handlers streams are bounded',
    ['dispatch/dispatcher.ts', 'for (const stream of streams ?? []) this.unsubscribe(stream);', ''],
  ],
  [
    'rooms have bounds',
    'SecureSocket.join',
    'the broadcaster knows no rooms without bounds',
    ['dispatch/rooms.ts', 'if (rooms.size >= MAX_ROOMS) throw', 'if (false) throw'],
  ],
]);

const COMPRESSION = group('unit/compression/codec.spec.ts', 'bounds ', [
  [
    'ratio of a message',
    'compression.maxRatio',
    'stops at maxRatio in shared mode',
    ['compression/peer-deflate.ts', 'Math.min(maxSize, Math.floor(maxRatio * received))', 'maxSize'],
  ],
  [
    'bombs are cut while they are inflated',
    'messages.maxSize after decompression',
    'inflates up to maxSize and not a byte more in shared mode',
    [
      'compression/peer-deflate.ts',
      'return maxRatio === undefined ? maxSize :',
      'return maxRatio === undefined ? Infinity :',
    ],
  ],
  [
    'small bombs are cut',
    'messages.maxSize after decompression',
    'inflates up to maxSize and not a byte more in shared mode',
    ['compression/inflate-context.ts', "if (produced > limit) return this.#fail('too-large');", ''],
    [
      'compression/inflate-context.ts',
      "if (this.#total > this.#limit && this.#settle !== undefined) this.#finish('too-large');",
      '',
    ],
  ],
  [
    'large bombs are cut',
    'messages.maxSize after decompression',
    'inflates up to maxSize and not a byte more in dedicated mode',
    [
      'compression/inflate-context.ts',
      "if (this.#total > this.#limit && this.#settle !== undefined) this.#finish('too-large');",
      '',
    ],
  ],
]);

const CONTEXTS = group('unit/compression/codec.spec.ts', '', [
  [
    'contexts fit the budget',
    'compression.budget',
    'dedicated contexts fit the budget',
    [
      'compression/compression.ts',
      'return this.budget.fits(contextCost(profile)) ? this.#dedicated(profile) : undefined;',
      'return this.#dedicated(profile);',
    ],
  ],
  [
    'no byte of one peer gets to another',
    'compression.mode: shared',
    'broken data gives no byte of one message to the next',
    ['compression/shared-codec.ts', '    context.reset();\n', ''],
  ],
]);

const CLIENT = group('attack/client/hostile-server.spec.ts', '', [
  [
    'client: status line',
    'section 6: status line',
    'a head without an end status line is cut off at the limit',
    ['client/response-reader.ts', 'new HeadMeter(limits,', 'new HeadMeter({ ...limits, maxLineLength: Infinity },'],
  ],
  [
    'client: header lines',
    'section 6: header lines',
    'a head without an end header line is cut off at the limit',
    ['client/response-reader.ts', 'new HeadMeter(limits,', 'new HeadMeter({ ...limits, maxLineLength: Infinity },'],
  ],
  [
    'client: number of headers',
    'section 6: header count',
    'a head without an end number of headers is cut off',
    ['client/response-reader.ts', 'new HeadMeter(limits,', 'new HeadMeter({ ...limits, maxNumHeaders: Infinity },'],
  ],
  [
    'client: 1xx responses',
    'section 6: over all 1xx responses together',
    'a head without an end 1xx responses is cut off',
    [
      'request/line-meter.ts',
      "if (++this.heads > this.limits.maxNumHeaders) this.state = this.fail('too-many-lines');",
      '',
    ],
  ],
  [
    'client: body',
    'http.maxBodySize',
    'a body without an end until it closes',
    ['client/response-reader.ts', 'tooLarge ||= this.body.length + data.length > this.limits.maxBodySize;', ''],
  ],
  [
    'client: announced body',
    'http.maxBodySize',
    'a body without an end longer than announced limits',
    [
      'client/response-reader.ts',
      'if (this.reader.length !== undefined && this.reader.length > this.limits.maxBodySize) return this.tooLarge(head);',
      '',
    ],
    ['client/response-reader.ts', 'tooLarge ||= this.body.length + data.length > this.limits.maxBodySize;', ''],
  ],
  [
    'client: chunk size lines',
    'http.maxLineLength',
    'a body without an end a chunk size line without an end',
    ['client/body-reader.ts', 'if (this.line.length + stop - at > this.maxLineLength) return true;', ''],
  ],
  [
    'client: open timeout',
    'http.openTimeout',
    'slowness one byte at a time ends at the open timeout',
    ['client/dial.ts', 'call.settings.http.openTimeout', '2 ** 31 - 1'],
  ],
  [
    'client: the accept value',
    'section 6: InvalidHandshakeError',
    'a 101 that is none a wrong accept value',
    ['client/verify.ts', 'accept.length !== 1 || accept[0] !== acceptOf(asked.key)', 'accept.length !== 1'],
  ],
  [
    'client: subprotocols that were asked for',
    'section 6: InvalidHandshakeError',
    'a 101 that is none a subprotocol nobody asked for',
    ['client/verify.ts', "if (subprotocol === undefined) return invalid('a subprotocol that was not asked for');", ''],
  ],
  [
    'client: size of messages',
    'messages.maxSize',
    'after the 101 a message over maxSize, by its declared length',
    ['client/client-socket.ts', 'maxPayload: maxSize', 'maxPayload: 0'],
  ],
  [
    'client: bombs',
    'messages.maxSize',
    'after the 101 a bomb that inflates to more than maxSize',
    [
      'compression/peer-deflate.ts',
      'return maxRatio === undefined ? maxSize :',
      'return maxRatio === undefined ? Infinity :',
    ],
    ['client/client-socket.ts', 'maxPayload: maxSize', 'maxPayload: 0'],
  ],
]);

const REDIRECTS = group('attack/client/redirects.spec.ts', '', [
  [
    'client: number of redirects',
    'client.maxRedirects',
    'redirects a loop ends after maxRedirects',
    ['client/dial.ts', 'if (redirects === maxRedirects) throw', 'if (redirects > 50) throw'],
  ],
  [
    'client: schemes of redirects',
    'section 6: to ws, wss, http, https only',
    'redirects to ftp://example.com/ is refused',
    [
      'client/target.ts',
      'if (scheme === undefined) return new RedirectRefusedError(`redirect to the scheme',
      'if (false) return new RedirectRefusedError(`redirect to the scheme',
    ],
  ],
  [
    'client: no userinfo in redirects',
    'section 6: without userinfo',
    'redirects to ws://user:secret@127.0.0.1/ is refused',
    [
      'client/target.ts',
      "if (url.username !== '' || url.password !== '') return new RedirectRefusedError",
      'if (false) return new RedirectRefusedError',
    ],
  ],
  [
    'client: credentials stay with their origin',
    'section 6: to another origin go only the handshake headers',
    'redirects to http of another origin go the handshake and the User-Agent alone',
    ['client/dial.ts', 'sameOrigin(target, hop.target) ? hop.call : forStrangers(hop.call)', 'hop.call'],
  ],
  [
    'client: what was dropped does not come back',
    'section 6: to another origin go only the handshake headers',
    'redirects what another origin was not told it does not get back',
    [
      'client/dial.ts',
      'sameOrigin(target, hop.target) ? hop.call : forStrangers(hop.call)',
      'sameOrigin(target, call.target) ? call : forStrangers(hop.call)',
    ],
  ],
  [
    'client: no redirect into the private network',
    'client.allowPrivateRedirects',
    'a redirect into the private network from a public address is refused',
    ['client/open-socket.ts', 'if (publicOnly && !isPublic) throw', 'if (false) throw'],
  ],
  [
    'client: no redirect to plaintext',
    'section 6: never from TLS to plaintext',
    'TLS is never left by a redirect',
    [
      'client/target.ts',
      "if (from.secure && scheme === 'ws:') return new RedirectRefusedError",
      'if (false) return new RedirectRefusedError',
    ],
  ],
  [
    'client: certificates are verified',
    'tls of a call',
    'TLS verifies, names the server',
    [
      'client/open-socket.ts',
      '...contained(tls), host, port }',
      '...contained(tls), host, port, rejectUnauthorized: false }',
    ],
  ],
]);

const NO_POSTPONING = [
  [
    'client/assembly.ts',
    'else if (receiver._fin && this.isPaused) this.postponed = { compressed: data, callback };',
    '',
  ],
  ['client/assembly.ts', 'if (this._fin && !assembly.isPaused) receive', 'if (this._fin) receive'],
];

const WAITING = group('attack/client/waiting.spec.ts', '', [
  [
    'client: waiting messages stay compressed',
    'messages.maxQueueBytes',
    'one read of messages that inflate a thousandfold an application that never reads',
    ...NO_POSTPONING,
  ],
  [
    'client: messages of one read that wait',
    'messages.maxQueue',
    'one read of messages that inflate a thousandfold twenty thousand tiny ones, as they are',
    ...NO_POSTPONING,
  ],
  [
    'client: what nobody takes after the end is dropped',
    'keepalive.closeTimeout',
    'an end behind messages that wait FIN: where nobody reads',
    ['client/listeners.ts', 'this[SELF]!.lifeline.linger();', ''],
    ['client/listeners.ts', 'this[SELF]!.lifeline.closing();', ''],
  ],
]);

const AGENTS = group('attack/client/life.spec.ts', '', [
  [
    'client: a proxy that refuses is not followed',
    'agent of a call',
    'an agent whose proxy answers in place of the server leads nowhere',
    ['client/dial.ts', 'if (refused) throw new UnexpectedStatusError(response.head, response.body);', ''],
  ],
]);

export const PROTECTIONS = [
  ...REQUESTS,
  ...SHARED,
  ...FOREIGN,
  ...LIFE,
  ...ADDRESSES,
  ...ADDRESS_UNITS,
  ...CAPACITY,
  ...GUARDS,
  ...ANSWERS,
  ...TLS,
  ...INCOMING,
  ...OUTGOING,
  ...BUDGET,
  ...LIFETIME,
  ...SHUTDOWN,
  ...SURVIVAL,
  ...ARRIVALS,
  ...DISPATCH,
  ...COMPRESSION,
  ...CONTEXTS,
  ...CLIENT,
  ...REDIRECTS,
  ...WAITING,
  ...AGENTS,
];
