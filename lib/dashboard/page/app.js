// The page of SecureWsDashboardModule. Everything that a peer may have chosen is set by textContent.
(() => {
  const BASE = new URL('.', document.currentScript.src);
  const POLL = 2000;
  const KEPT = 600;
  const MIB = 1024 * 1024;
  const $ = (id) => document.getElementById(id);
  let cursors = [0];
  let nextCursor;
  let charts;
  let history = empty();
  let timer;
  let overview;

  function empty() {
    return { time: [], connections: [], heldBytes: [], loopDelay: [], accepted: [], refused: {} };
  }

  async function ask(path, options = {}) {
    const response = await fetch(new URL(path, BASE), {
      credentials: 'same-origin',
      cache: 'no-store',
      redirect: 'error',
      ...options,
      headers: { 'X-Nest-Secure-Ws': 'dashboard', ...options.headers },
    });
    const body = await response.json().catch(() => ({}));
    if (response.status === 401) throw Object.assign(new Error(body.message ?? 'Log in first.'), { login: true });
    if (!response.ok) throw new Error(body.message ?? `The server answered ${response.status}.`);
    return body;
  }

  const post = (path, query = {}) => ask(`${path}?${new URLSearchParams(query)}`, { method: 'POST' });

  // ---- elements

  function element(name, text, className) {
    const made = document.createElement(name);
    if (text !== undefined) made.textContent = text;
    if (className) made.className = className;
    return made;
  }

  /** columns: [title, value(row), isNumber]; `action(row)` answers buttons. */
  function table(target, columns, rows, none, action) {
    if (rows.length === 0) return target.replaceChildren(element('p', none, 'quiet'));
    // A button that has the focus must not be taken away by a poll.
    if (target.contains(document.activeElement) && document.activeElement.tagName === 'BUTTON') return undefined;
    const made = element('table');
    const head = made.createTHead().insertRow();
    for (const [title, , isNumber] of columns) {
      const cell = element('th', title, isNumber ? 'n' : '');
      cell.scope = 'col';
      head.append(cell);
    }
    if (action) head.append(Object.assign(element('th', 'Action'), { scope: 'col' }));
    const body = made.createTBody();
    for (const row of rows) {
      const line = body.insertRow();
      for (const [, value, isNumber] of columns) {
        const text = String(value(row) ?? '');
        const cell = element('td', text, isNumber ? 'n' : '');
        if (text.length > 30) cell.title = text;
        line.append(cell);
      }
      if (action) {
        const cell = element('td');
        cell.append(...action(row));
        line.append(cell);
      }
    }
    return target.replaceChildren(made);
  }

  function button(label, what, act) {
    const made = element('button', label, 'danger');
    made.type = 'button';
    made.setAttribute('aria-label', `${label} ${what}`);
    made.addEventListener('click', () => {
      if (!confirm(`${label} ${what}?`)) return;
      made.disabled = true;
      act().then(refresh, failed);
    });
    return made;
  }

  // ---- figures

  const whole = (value) => Math.round(value).toLocaleString('en');
  function bytes(value) {
    if (value < 1024) return `${Math.round(value)} B`;
    if (value < MIB) return `${(value / 1024).toFixed(1)} KiB`;
    return `${(value / MIB).toFixed(1)} MiB`;
  }
  function span(milliseconds) {
    const seconds = Math.max(0, Math.round(milliseconds / 1000));
    if (seconds < 120) return `${seconds} s`;
    if (seconds < 7200) return `${Math.round(seconds / 60)} min`;
    if (seconds < 172800) return `${Math.round(seconds / 3600)} h`;
    return `${Math.round(seconds / 86400)} d`;
  }
  const lastOf = (list, count) => list.slice(-count).reduce((sum, each) => sum + each, 0);
  const refusedTotals = (count) =>
    Object.entries(history.refused)
      .map(([reason, values]) => ({ reason, count: lastOf(values, count) }))
      .filter((each) => each.count > 0)
      .sort((a, b) => b.count - a.count);

  // ---- history

  function merge(answer) {
    const old = history.time.length;
    const added = answer.time.length;
    for (const key of ['time', 'connections', 'heldBytes', 'loopDelay', 'accepted'])
      history[key] = history[key].concat(answer[key]).slice(-KEPT);
    for (const reason of new Set([...Object.keys(history.refused), ...Object.keys(answer.refused)])) {
      const before = history.refused[reason] ?? new Array(old).fill(0);
      const after = answer.refused[reason] ?? new Array(added).fill(0);
      history.refused[reason] = before.concat(after).slice(-KEPT);
    }
  }

  function colour(name) {
    return getComputedStyle(document.documentElement).getPropertyValue(name).trim();
  }

  function chart(id, labels, colours) {
    const target = $(id);
    const axis = { stroke: colour('--quiet'), grid: { stroke: colour('--line'), width: 1 }, ticks: { show: false } };
    const options = {
      width: target.clientWidth || 300,
      height: 180,
      cursor: { drag: { x: false, y: false } },
      scales: { y: { range: (_chart, _min, max) => [0, Math.max(1, max * 1.1)] } },
      axes: [axis, { ...axis, size: 60 }],
      series: [{}, ...labels.map((label, at) => ({ label, stroke: colours[at], width: 2, points: { show: false } }))],
    };
    target.replaceChildren();
    return new uPlot(options, [[], ...labels.map(() => [])], target);
  }

  function makeCharts() {
    charts = {
      connections: chart('chart-connections', ['connections'], [colour('--link')]),
      rates: chart('chart-rates', ['accepted', 'refused'], [colour('--good'), colour('--bad')]),
      memory: chart('chart-memory', ['MiB'], [colour('--link')]),
      delay: chart('chart-delay', ['ms'], [colour('--warn')]),
    };
    draw();
  }

  function draw() {
    if (charts === undefined) return;
    const { time } = history;
    const refused = time.map((_, at) => Object.values(history.refused).reduce((sum, each) => sum + each[at], 0));
    charts.connections.setData([time, history.connections]);
    charts.rates.setData([time, history.accepted, refused]);
    charts.memory.setData([time, history.heldBytes.map((each) => each / MIB)]);
    charts.delay.setData([time, history.loopDelay]);
  }

  function resize() {
    for (const [name, each] of Object.entries(charts ?? {}))
      each.setSize({ width: $(`chart-${name}`).clientWidth || 300, height: 180 });
  }

  // ---- the board

  const STATES = { well: 'Well', pressed: 'Under pressure', draining: 'Shutting down' };

  function state(name, text) {
    $('state').className = `pill ${name}`;
    if ($('state').textContent !== text) $('state').textContent = text;
  }

  /** What the processes of the cluster that have answered say of themselves, added up. */
  function sumOf(nodes) {
    const answered = nodes.filter((node) => node.brief).map((node) => node.brief);
    const add = (key) => answered.reduce((sum, brief) => sum + brief[key], 0);
    return {
      connections: nodes.reduce((sum, node) => sum + (node.brief?.connections ?? node.connections ?? 0), 0),
      pending: add('pending'),
      accepted: add('accepted'),
      refused: add('refused'),
      heldBytes: add('heldBytes'),
      loopDelay: Math.max(0, ...answered.map((brief) => brief.loopDelay)),
    };
  }

  function sentence({ stats, topAddresses, nodes, state: now }) {
    const refused = refusedTotals(10);
    const sum = refused.reduce((total, each) => total + each.count, 0);
    const parts = [];
    if (nodes.length > 1) {
      const all = sumOf(nodes);
      parts.push(
        `${nodes.length} processes with ${whole(all.connections)} connections, ${all.refused.toFixed(1)} upgrades refused per second in all.`,
        'This process:',
      );
    }
    parts.push(
      `${whole(stats.connections)} ${stats.connections === 1 ? 'connection' : 'connections'}, ${bytes(stats.heldBytes)} held for peers.`,
    );
    if (sum === 0) parts.push('Nothing was refused in the last ten seconds.');
    else parts.push(`${whole(sum)} refused in the last ten seconds, mostly for ${refused[0].reason}.`);
    if (now === 'pressed' && topAddresses[0]) parts.push(`The busiest address is ${topAddresses[0].key}.`);
    return parts.join(' ');
  }

  function tiles({ stats }) {
    const delay = history.loopDelay.slice(-10);
    const values = [
      ['Connections', whole(stats.connections)],
      ['Pending handshakes', whole(stats.pending)],
      ['Accepted per second', (lastOf(history.accepted, 10) / 10).toFixed(1)],
      ['Refused per second', (refusedTotals(10).reduce((sum, each) => sum + each.count, 0) / 10).toFixed(1)],
      ['Held for peers', bytes(stats.heldBytes)],
      ['Event-loop delay', `${Math.max(0, ...delay).toFixed(0)} ms`],
    ];
    $('tiles').replaceChildren(
      ...values.map(([name, value]) => {
        const tile = element('div');
        tile.append(element('dt', name), element('dd', value));
        return tile;
      }),
    );
  }

  function budgets({ stats }) {
    const rows = stats.budgets.map(({ kind, held, limit }) => {
      const row = element('p');
      const meter = element('meter');
      Object.assign(meter, { min: 0, max: limit, low: limit * 0.7, high: limit * 0.9, optimum: 0, value: held });
      meter.setAttribute('aria-label', `${kind}: ${bytes(held)} of ${bytes(limit)}`);
      row.append(element('span', `${kind}: ${bytes(held)} of ${bytes(limit)}`), meter);
      return row;
    });
    $('budgets').replaceChildren(...rows);
  }

  const canAct = () => overview !== undefined && !overview.readonly;
  const banButton = (kind) => (row) => [
    button('Ban', row.key, () => post('ban', { [kind]: row.key, for: '15m', reason: 'banned by an operator' })),
  ];

  function show(answer) {
    overview = answer;
    merge(answer.history);
    state(answer.state, STATES[answer.state]);
    $('summary').textContent = sentence(answer);
    tiles(answer);
    budgets(answer);
    draw();
    table(
      $('refused'),
      [
        ['Reason', (row) => row.reason],
        ['Upgrades', (row) => whole(row.count), true],
      ],
      Object.entries(answer.refused)
        .map(([reason, count]) => ({ reason, count }))
        .sort((a, b) => b.count - a.count),
      'Nothing was refused.',
    );
    const top = [
      ['Key', (row) => row.key],
      ['Attempts', (row) => whole(row.count), true],
    ];
    table(
      $('addresses'),
      top,
      answer.topAddresses,
      'Nobody has connected.',
      canAct() ? banButton('address') : undefined,
    );
    table($('users'), top, answer.topUsers, 'No user has connected.', canAct() ? banButton('user') : undefined);
    table(
      $('bans'),
      [
        ['Who', (ban) => ban.userKey ?? ban.network],
        ['Ends in', (ban) => span(ban.until - answer.time), true],
        ['Reason', (ban) => ban.reason],
      ],
      answer.bans,
      'Nobody is banned.',
      canAct()
        ? (ban) => [
            button('Unban', ban.userKey ?? ban.network, () =>
              post('unban', ban.userKey === undefined ? { address: ban.network } : { user: ban.userKey }),
            ),
          ]
        : undefined,
    );
    $('nodes-section').hidden = answer.nodes.length === 0;
    processes(answer.nodes);
    table(
      $('remarks'),
      [
        ['When', (each) => `${span(answer.time - each.at)} ago`],
        ['Kind', (each) => each.kind],
        ['What', (each) => each.text],
      ],
      [...answer.remarks].reverse(),
      'None.',
    );
    $('ban-form').hidden = !canAct();
    $('drain').hidden = !canAct() || answer.state === 'draining';
    $('logout').hidden = false;
  }

  /** One line for each process of the cluster, and one for all of them. */
  function processes(nodes) {
    const all = { name: 'All processes', brief: { state: '', ...sumOf(nodes) } };
    const of = (value) => (row) => (row.brief === undefined ? '' : value(row.brief));
    table(
      $('nodes'),
      [
        ['Process', (node) => node.name + (node.self ? ' (this one)' : '')],
        ['State', (node) => (node.brief === undefined ? 'no answer' : (STATES[node.brief.state] ?? ''))],
        ['Connections', (node) => whole(node.brief?.connections ?? node.connections ?? 0), true],
        ['Pending', of(({ pending }) => whole(pending)), true],
        ['Accepted per second', of(({ accepted }) => accepted.toFixed(1)), true],
        ['Refused per second', of(({ refused }) => refused.toFixed(1)), true],
        ['Held for peers', of(({ heldBytes }) => bytes(heldBytes)), true],
        ['Event-loop delay', of(({ loopDelay }) => `${loopDelay.toFixed(0)} ms`), true],
      ],
      nodes.length > 1 ? [all, ...nodes] : nodes,
      '',
    );
    const select = $('node');
    const ids = nodes.map(({ id }) => id).join();
    if (select.dataset.ids === ids) return;
    select.dataset.ids = ids;
    const chosen = select.value;
    select.replaceChildren(
      ...nodes.map(({ id, name, self }) => {
        const option = element('option', name + (self ? ' (this one)' : ''));
        option.value = self ? '' : id;
        return option;
      }),
    );
    select.value = nodes.some(({ id }) => id === chosen) ? chosen : '';
    $('node-row').hidden = nodes.length < 2;
  }

  async function connections() {
    const node = $('node').value;
    const query = new URLSearchParams({ filter: $('filter').value, cursor: cursors.at(-1), limit: 50, node });
    const answer = await ask(`connections?${query}`);
    nextCursor = answer.cursor;
    $('next').disabled = nextCursor === undefined;
    table(
      $('connections'),
      [
        ['Address', (row) => row.address],
        ['User', (row) => row.user],
        ['Gateway', (row) => row.gateway],
        ['Age', (row) => span(row.age), true],
        ['Latency', (row) => (row.latency === undefined ? '' : `${row.latency.toFixed(0)} ms`), true],
        ['In', (row) => `${whole(row.messagesIn)} / ${bytes(row.bytesIn)}`, true],
        ['Out', (row) => `${whole(row.messagesOut)} / ${bytes(row.bytesOut)}`, true],
        ['Waiting', (row) => bytes(row.queued), true],
        ['Compressed', (row) => (row.compressed ? 'yes' : 'no')],
      ],
      answer.rows,
      nextCursor === undefined ? 'No connection.' : 'None so far: the next page goes on with the search.',
      canAct()
        ? (row) => [
            button('Disconnect', `${row.address} ${row.user ?? ''}`.trim(), () => post('disconnect', { id: row.id })),
          ]
        : undefined,
    );
  }

  async function settings() {
    const answer = await ask('settings');
    table(
      $('settings'),
      [
        ['Option', (row) => row.path],
        ['Value', (row) => (typeof row.value === 'string' ? row.value : JSON.stringify(row.value))],
        ['Source', (row) => row.source],
      ],
      answer.settings,
      'None.',
    );
  }

  // ---- the loop

  async function refresh() {
    clearTimeout(timer);
    try {
      const answer = await ask(`overview?since=${history.time.at(-1) ?? 0}`);
      $('login').hidden = true;
      $('board').hidden = false;
      if (charts === undefined) makeCharts();
      show(answer);
      await connections();
      $('message').textContent = '';
    } catch (error) {
      failed(error);
    }
    if (!$('board').hidden) timer = setTimeout(refresh, POLL);
  }

  function failed(error) {
    if (error.login) return askForToken();
    state('lost', 'Not reachable');
    $('message').textContent = error.message;
    return undefined;
  }

  function askForToken() {
    clearTimeout(timer);
    history = empty();
    $('board').hidden = true;
    $('logout').hidden = true;
    $('drain').hidden = true;
    $('login').hidden = false;
    state('', 'Logged out');
    $('token').focus();
  }

  $('login').addEventListener('submit', async (event) => {
    event.preventDefault();
    $('login-error').textContent = '';
    try {
      await ask('login', { method: 'POST', headers: { Authorization: `Bearer ${$('token').value}` } });
      $('token').value = '';
      await refresh();
      $('main').focus();
    } catch (error) {
      $('login-error').textContent = error.message;
    }
  });
  $('logout').addEventListener('click', () => post('logout').then(askForToken, failed));
  $('drain').addEventListener('click', () => {
    if (confirm('Drain? New connections are refused and every peer is told to leave.'))
      post('drain').then(refresh, failed);
  });
  $('filter-form').addEventListener('submit', (event) => {
    event.preventDefault();
    cursors = [0];
    connections().catch(failed);
  });
  $('node').addEventListener('change', () => {
    cursors = [0];
    connections().catch(failed);
  });
  $('first').addEventListener('click', () => {
    cursors = [0];
    connections().catch(failed);
  });
  $('next').addEventListener('click', () => {
    if (nextCursor === undefined) return;
    cursors.push(nextCursor);
    connections().catch(failed);
  });
  $('ban-form').addEventListener('submit', (event) => {
    event.preventDefault();
    const query = {
      [$('ban-kind').value]: $('ban-target').value,
      for: $('ban-time').value,
      reason: 'banned by an operator',
    };
    post('ban', query).then(() => {
      $('ban-target').value = '';
      return refresh();
    }, failed);
  });
  $('settings-details').addEventListener('toggle', () => {
    if ($('settings-details').open) settings().catch(failed);
  });
  addEventListener('resize', resize);
  matchMedia('(prefers-color-scheme: dark)').addEventListener('change', () => charts && makeCharts());
  refresh();
})();
