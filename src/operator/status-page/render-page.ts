import type { ConditionReport, Level, ObjectReport, PeerReport, ServedReport, StatusReport } from './build-report.ts';
import { formatMoment, formatSpan } from './format-time.ts';
import { Html, html } from './html.ts';
import { pageScript } from './page-script.ts';
import { pageStyle } from './page-style.ts';
import { renderProgress } from './render-progress.ts';

/**
 * The whole page in one file without assets. It is useful without a script; the script only refreshes it.
 *
 * It escapes everything from the cluster, because anybody who may write a Lease chooses names.
 */
export function renderPage(report: StatusReport): string {
  const { objects, operator, trouble, generatedAt } = report;
  const now = Date.parse(generatedAt);
  const page = html`<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<meta name="robots" content="noindex">
<title>${titleOf(report)}</title>
<link rel="icon" href="data:,">
<style>${new Html(pageStyle)}</style>
</head>
<body>
${shapes}
<a class="skip" href="#main">Skip to the content</a>
<header class="top"><div class="wide">
<div><p class="brand">PeerDiscovery</p><h1>Control plane</h1></div>
<div class="live" data-own><span id="live-text">As of <time datetime="${generatedAt}">${formatMoment(now, 0)} UTC</time></span><button type="button" id="pause" aria-pressed="false" hidden>Pause</button></div>
</div></header>
<p id="announce" class="unseen" role="status" data-own></p>
<main id="main" class="wide" tabindex="-1">
${trouble !== undefined && html`<p class="trouble">${icon('warning')} What follows may be old: ${trouble}</p>`}
${objects.length === 0 && html`<section class="card"><h2>No PeerDiscovery yet</h2><p>Create one, and the operator watches the control plane: <code>kubectl apply -k config/overlays/observe-only</code></p></section>`}
${objects.map((object) => renderObject(object, report.search, now))}
</main>
<footer class="wide"><p>Operator ${operator.version} · ${operator.identity} · leads since <time datetime="${operator.leadsSince}">${operator.leadsSince}</time> · <a href="?format=json">as JSON</a></p></footer>
<script>${new Html(pageScript)}</script>
</body>
</html>
`;
  return page.text;
}

/** A page with one message, for when there is nothing else to show. */
export function renderMessage(title: string, detail: string): string {
  return html`<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>${title}</title>
<link rel="icon" href="data:,">
<style>${new Html(pageStyle)}</style>
</head>
<body><main class="wide"><section class="card"><h1>${title}</h1><p>${detail}</p></section></main></body>
</html>
`.text;
}

function titleOf({ objects }: StatusReport): string {
  const [first] = objects;
  return first === undefined ? 'PeerDiscovery' : `${first.verdict.title} – ${first.name} – PeerDiscovery`;
}

const shapes = html`<svg class="unseen" aria-hidden="true" focusable="false"><defs>
<symbol id="shape-good" viewBox="0 0 16 16"><circle cx="8" cy="8" r="7.5"/><path d="M4.5 8.3 7 10.8l4.6-5.2"/></symbol>
<symbol id="shape-note" viewBox="0 0 16 16"><rect x="2.4" y="2.4" width="11.2" height="11.2" rx="1.5" transform="rotate(45 8 8)"/><path d="M8 4.6v.4M8 7.2v4"/></symbol>
<symbol id="shape-warning" viewBox="0 0 16 16"><path class="fill" d="M8 .8 15.8 15H.2z"/><path d="M8 5.8v4M8 12v.6"/></symbol>
<symbol id="shape-bad" viewBox="0 0 16 16"><path class="fill" d="M5 .5h6L15.500 5v6L11 15.500H5L.5 11V5z"/><path d="m5.300 5.300 5.400 5.400m0-5.400-5.400 5.400"/></symbol>
</defs></svg>`;

function icon(level: Level): Html {
  return html`<svg class="${`icon ${level}`}" aria-hidden="true" focusable="false"><use href="${`#shape-${level}`}"/></svg>`;
}

function renderObject(object: ObjectReport, search: string, now: number): Html {
  const { name, verdict } = object;
  return html`<article aria-labelledby="${`object-${name}`}" data-verdict="${`${name}: ${verdict.title}`}">
<section class="${`card verdict ${verdict.level}`}">
${icon(verdict.level)}
<div><h2 id="${`object-${name}`}"><span class="object">${name}</span> ${verdict.title}</h2><p>${verdict.detail}</p></div>
<dl class="facts">
${fact('Servers ready', `${object.readyCount} of ${object.peerCount}`)}${fact('Mode', object.mode)}${fact('API groups', object.groups)}${fact('Resources', object.resources)}${fact('Differences', object.differences)}${fact('Table revision', object.revision ?? '–')}
</dl>
</section>
<section class="card"><h3>Servers</h3>${renderPeers(object)}</section>
<section class="card"><h3>Upgrade over time</h3>${renderProgress(object, now)}</section>
<section class="card"><h3>Conditions</h3>${renderConditions(object.conditions, now)}${renderProblems(object)}</section>
<section class="card"><h3 id="${`served-${name}`}">Who serves what</h3>${renderServed(object, search)}</section>
</article>`;
}

function fact(term: string, value: string | number): Html {
  return html`<div><dt>${term}</dt><dd>${value}</dd></div>`;
}

const sentences: Readonly<Record<string, Readonly<Record<string, string>>>> = {
  Ready: {
    True: 'The routing table is published and complete',
    False: 'The routing table is not published or not complete',
  },
  Stale: { True: "Some server's discovery is not fresh", False: "Every server's discovery is fresh" },
  Converged: {
    True: 'All servers are ready and serve the same',
    False: 'The servers do not serve the same',
    Unknown: 'Whether all servers serve the same is not known',
  },
  Stalled: {
    True: 'Nothing more happens until somebody changes something',
    False: 'Nothing keeps the operator from working',
  },
};

function renderConditions(conditions: readonly ConditionReport[], now: number): Html {
  if (conditions.length === 0) return html`<p class="empty">The operator has reported nothing about it yet.</p>`;
  return html`<ul class="conditions">${conditions.map(
    ({ type, status, level, message, since, reason }) => html`<li>${icon(level)}<div>
<p><strong>${sentences[type]?.[status] ?? `${type} is ${status}`}</strong></p>
${level !== 'good' && html`<p class="aside">${message}</p>`}
<p class="aside"><code>${type}=${status}</code> <code>${reason}</code> for <time datetime="${since}">${formatSpan(now - Date.parse(since))}</time></p>
</div></li>`,
  )}</ul>`;
}

function renderProblems({ leaseProblems, schemaDifferences, fieldDifferences, name }: ObjectReport): Html {
  return html`${
    leaseProblems.length > 0 &&
    html`<h4>Leases that identify no server</h4><ul class="plain-list">${leaseProblems.map(({ lease, reason, message }) => html`<li><code>${lease}</code> ${reason}: ${message}</li>`)}</ul>`
  }${
    schemaDifferences.length > 0 &&
    html`<details id="${`schemas-${name}`}"><summary>Schemas differ in ${schemaDifferences.length} group-versions</summary><p class="aside">Some servers may not know a field. This is normal during an upgrade.</p><p>${schemaDifferences.join(', ')}</p></details>`
  }${
    fieldDifferences.length > 0 &&
    html`<details id="${`fields-${name}`}"><summary>Fields differ in ${fieldDifferences.length} resources</summary><p class="aside">In mode Route, writes of these resources go to the servers that know all fields. The status of the object names the servers and the fields.</p><p>${fieldDifferences.join(', ')}</p></details>`
  }`;
}

function renderPeers({ peers, omittedPeers, name }: ObjectReport): Html {
  if (peers.length === 0) return html`<p class="empty">No kube-apiserver has been found yet.</p>`;
  return html`<table class="stack" role="table"><caption class="unseen">${`Kube-apiservers of ${name}`}</caption>
<thead role="rowgroup"><tr role="row">${['Server', 'State', 'Version', 'Discovery', 'Address', 'Resources'].map((head) => html`<th role="columnheader" scope="col">${head}</th>`)}</tr></thead>
<tbody role="rowgroup">${peers.map(renderPeer)}</tbody></table>
${omittedPeers > 0 && html`<p class="aside">${omittedPeers} more servers are left out here.</p>`}`;
}

function renderPeer(peer: PeerReport): Html {
  const { name, id, state, level, reason, message, version, fresh, ageSeconds, address, source, trust } = peer;
  const age = ageSeconds === undefined ? undefined : formatSpan(ageSeconds * 1_000);
  return html`<tr role="row"><th role="rowheader" scope="row">${name}${name !== id && html`<span class="sub id">${id}</span>`}</th>
<td role="cell" data-label="State"><span class="state">${icon(level)} ${sayState(state)}</span>${message !== '' && html`<span class="sub">${reason}: ${message}</span>`}</td>
<td role="cell" data-label="Version"><span class="nowrap">${version ?? 'not known'}</span></td>
<td role="cell" data-label="Discovery">${age === undefined ? 'never read' : fresh ? 'fresh' : 'old'}${age !== undefined && html`<span class="sub">${age} ago</span>`}</td>
<td role="cell" data-label="Address"><span class="mono">${address ?? 'not known'}</span>${source !== undefined && html`<span class="sub">from ${source}, trust ${trust}</span>`}</td>
<td role="cell" data-label="Resources">${peer.resources ?? '–'}</td></tr>
`;
}

function sayState(state: string): string {
  return state === 'NotReady' ? 'Not ready' : state;
}

function renderServed({ served, name, differences, peerCount }: ObjectReport, search: string): Html {
  const { rows, matching } = served;
  const field = `search-${name}`;
  const summary =
    search === ''
      ? differences === 0
        ? 'No resource differs between the live servers. Search to see who serves any other.'
        : `${matching} ${matching === 1 ? 'resource differs' : 'resources differ'}. Search to see who serves any other.`
      : `${matching} ${matching === 1 ? 'resource fits' : 'resources fit'} the search.`;
  const left = matching - rows.length;
  return html`<form method="get" role="search" aria-labelledby="${`served-${name}`}">
<label for="${field}">Search resources</label>
<div class="field"><input id="${field}" name="q" type="search" value="${search}" maxlength="100" autocomplete="off" spellcheck="false" placeholder="deployments, or resource.k8s.io" aria-describedby="${`found-${name}`}"><button type="submit">Search</button></div>
</form>
<p class="aside" id="${`found-${name}`}" role="status">${summary}${left > 0 && ` The first ${rows.length} are shown; search to narrow them down.`}</p>
${
  rows.length > 0 &&
  html`<table class="stack" role="table"><caption class="unseen">${search === '' ? 'Resources that differ' : 'Resources that fit the search'}</caption>
<thead role="rowgroup"><tr role="row"><th role="columnheader" scope="col">Resource</th><th role="columnheader" scope="col">Served by</th><th role="columnheader" scope="col">Not served by</th></tr></thead>
<tbody role="rowgroup">${rows.map((row) => renderRow(row, peerCount))}</tbody></table>`
}`;
}

function renderRow(
  { resource, servedBy, missingFrom, omittedPeers, differingFields }: ServedReport,
  peerCount: number,
): Html {
  const everyone = missingFrom.length === 0 && servedBy.length + omittedPeers === peerCount;
  return html`<tr role="row"><th role="rowheader" scope="row" class="mono">${breakable(resource)}${
    differingFields.length > 0 && html`<span class="sub">described differently: ${differingFields.join(', ')}</span>`
  }</th>
<td role="cell" data-label="Served by">${everyone ? `all ${peerCount}` : names(servedBy)}${omittedPeers > 0 && !everyone && html`<span class="sub">${omittedPeers} more names are left out</span>`}</td>
<td role="cell" data-label="Not served by">${names(missingFrom)}</td></tr>
`;
}

/** May break after each dot, rather than inside a word. */
function breakable(name: string): Html {
  const [first = '', ...rest] = name.split('.');
  return html`${first}${rest.map((word) => html`.<wbr>${word}`)}`;
}

function names(list: readonly string[]): Html {
  return list.length === 0 ? html`<span class="faint">–</span>` : html`${list.join(', ')}`;
}
