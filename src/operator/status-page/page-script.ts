/**
 * Refreshes the page every few seconds without losing focus, scroll position or open details, and searches while the
 * user types.
 *
 * It changes content node by node, only where it differs. It never turns text into HTML: it inserts parts of the
 * operator's own escaped page, and the page's policy allows no other script.
 */
export const pageScript = `'use strict';
(() => {
  const everyMs = 5000;
  const pause = document.getElementById('pause');
  const live = document.getElementById('live-text');
  const announce = document.getElementById('announce');
  let paused = false;
  let failed = false;
  let turn = 0;
  let timer = 0;

  function morph(from, to) {
    if (from.nodeType !== to.nodeType || from.nodeName !== to.nodeName) return from.replaceWith(to.cloneNode(true));
    if (from.nodeType !== Node.ELEMENT_NODE) {
      if (from.nodeValue !== to.nodeValue) from.nodeValue = to.nodeValue;
      return;
    }
    if (from.hasAttribute('data-own') || from.nodeName === 'SCRIPT' || from.nodeName === 'STYLE') return;
    for (const { name } of [...from.attributes])
      if (!to.hasAttribute(name) && !(from.nodeName === 'DETAILS' && name === 'open')) from.removeAttribute(name);
    for (const { name, value } of to.attributes) if (from.getAttribute(name) !== value) from.setAttribute(name, value);
    const [before, after] = [[...from.childNodes], [...to.childNodes]];
    after.forEach((child, index) => {
      if (index < before.length) morph(before[index], child);
      else from.append(child.cloneNode(true));
    });
    before.slice(after.length).forEach((child) => child.remove());
  }

  const verdicts = (root) => [...root.querySelectorAll('[data-verdict]')].map((node) => node.dataset.verdict).join('. ');

  async function renew() {
    clearTimeout(timer);
    const own = ++turn;
    try {
      const answer = await fetch(location.search || location.pathname, { headers: { accept: 'text/html' }, signal: AbortSignal.timeout(10000) });
      if (!answer.ok) throw new Error(String(answer.status));
      const next = new DOMParser().parseFromString(await answer.text(), 'text/html');
      if (own !== turn) return;
      const before = verdicts(document);
      morph(document.body, next.body);
      document.title = next.title;
      live.textContent = next.getElementById('live-text').textContent;
      const after = verdicts(document);
      if (failed) announce.textContent = 'Up to date again. ' + after;
      else if (after !== before) announce.textContent = after;
      failed = false;
    } catch {
      if (own !== turn) return;
      if (!failed) announce.textContent = live.textContent = 'No answer; what you see is old.';
      failed = true;
    }
    document.documentElement.classList.toggle('old', failed);
    plan();
  }

  function plan() {
    clearTimeout(timer);
    if (!paused) timer = setTimeout(() => (document.hidden ? plan() : renew()), everyMs);
  }

  pause.hidden = false;
  pause.addEventListener('click', () => {
    paused = !paused;
    pause.textContent = paused ? 'Resume' : 'Pause';
    pause.setAttribute('aria-pressed', String(paused));
    if (paused) clearTimeout(timer);
    else renew();
  });

  let typing = 0;
  function search(text) {
    history.replaceState(null, '', text === '' ? location.pathname : '?q=' + encodeURIComponent(text));
    for (const field of document.querySelectorAll('input[name=q]')) if (field.value !== text) field.value = text;
    renew();
  }
  document.addEventListener('input', ({ target }) => {
    if (target.name !== 'q') return;
    clearTimeout(typing);
    typing = setTimeout(() => search(target.value.trim()), 200);
  });
  document.addEventListener('submit', (event) => {
    const field = event.target.querySelector('input[name=q]');
    if (field === null) return;
    event.preventDefault();
    clearTimeout(typing);
    search(field.value.trim());
  });
  plan();
})();
`;
