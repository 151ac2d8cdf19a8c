import axe from 'axe-core';
import { expect } from 'chai';
import type { Browser, BrowserContextOptions, Page } from 'playwright-core';
import { serveEndpoint } from '../../src/adapters/serving/http-endpoint.ts';
import type { StatusSnapshot } from '../../src/operator/status-page/build-report.ts';
import { createStatusRoute } from '../../src/operator/status-page/status-route.ts';
import { openBrowser, requireBrowser } from '../support/open-browser.ts';
import { calmSnapshot, hostileSnapshot, largestSnapshot, upgradeSnapshot } from '../support/status-snapshots.ts';

const now = Date.UTC(2026, 0, 1, 12);
const hostile = `"><script>alert(1)</script><img src=x onerror=alert(1)>${'x'.repeat(200)}`;
const operator = { version: '0.1.0', identity: 'here', leadsSince: now };
const snapshots: Readonly<Record<string, StatusSnapshot | undefined>> = {
  calm: calmSnapshot(now),
  'mid-upgrade': upgradeSnapshot(now),
  'one away': upgradeSnapshot(now, { awayMs: 42_000 }),
  doubtful: upgradeSnapshot(now, { awayMs: 90_000 }),
  hostile: hostileSnapshot(now, hostile),
  largest: largestSnapshot(now),
  empty: { now, date: now, operator, objects: [] },
  'not looked at': {
    now,
    date: now,
    operator,
    objects: [{ name: 'x', status: undefined, live: undefined, history: [] }],
  },
  'of a standby': undefined,
};

describe('the status page in a browser', function () {
  this.timeout(240_000);
  const stopping = new AbortController();
  let browser: Browser;
  let url: string;
  let snapshot: StatusSnapshot | undefined;
  let complaints: string[] = [];
  const opened: Page[] = [];

  before(async function () {
    const executable = await requireBrowser(this);
    browser = await openBrowser(executable);
    const extra = { '/status': createStatusRoute(() => snapshot) };
    const { address } = await serveEndpoint({ bindAddress: '127.0.0.1:0', extra }, stopping.signal);
    url = `http://${address}/status`;
  });
  beforeEach(() => {
    snapshot = upgradeSnapshot(now);
    complaints = [];
  });
  afterEach(async () => {
    await Promise.all(opened.splice(0).map((page) => page.context().close()));
  });
  after(async () => {
    stopping.abort();
    await browser?.close();
  });

  async function open(options: BrowserContextOptions = {}, search = ''): Promise<Page> {
    const page = await (await browser.newContext(options)).newPage();
    opened.push(page);
    page.setDefaultTimeout(60_000);
    page.on('console', (message) => {
      if (message.type() === 'error') complaints.push(message.text());
    });
    page.on('pageerror', (error) => complaints.push(error.message));
    page.on('dialog', (dialog) => {
      complaints.push(`dialog: ${dialog.message()}`);
      dialog.dismiss().catch(() => {});
    });
    // Only `turn` advances the time.
    if (options.javaScriptEnabled !== false) await page.clock.install();
    await page.goto(`${url}${search}`);
    return page;
  }

  /** Advances the page's time until it has asked again and shown the answer. */
  async function turn(page: Page): Promise<void> {
    const asked = page.waitForRequest((request) => request.url().startsWith(url));
    await page.clock.fastForward(5_000);
    await asked.then((request) => request.response()).catch(() => null);
    await page.evaluate('new Promise((resolve) => queueMicrotask(resolve))');
  }

  for (const [name, shown] of Object.entries(snapshots))
    it(`passes axe and fits any width, light and dark: ${name}`, async () => {
      snapshot = shown;
      const page = await open();
      await page.evaluate(axe.source);
      for (const width of [320, 360, 768, 1280]) {
        await page.setViewportSize({ width, height: 800 });
        const overflow = await page.evaluate('document.documentElement.scrollWidth - window.innerWidth');
        expect(overflow, `${width} px: the page scrolls sideways`).to.equal(0);
        // The largest page has no other content, only more of it.
        if (name === 'largest' || width === 320 || width === 768) continue;
        for (const colorScheme of ['light', 'dark'] as const) {
          await page.emulateMedia({ colorScheme });
          const { violations } = (await page.evaluate('axe.run()')) as axe.AxeResults;
          const faults = violations.map(({ id, nodes }) => `${colorScheme} ${width} ${id}: ${nodes[0]?.html}`);
          expect(faults).to.deep.equal([]);
        }
      }
      // A standby answers 503, which a browser reports on its console.
      expect(complaints.filter((text) => !text.includes('503'))).to.deep.equal([]);
    });

  it('matches the picture in the guide', async () => {
    snapshot = upgradeSnapshot(now, { awayMs: 42_000 });
    const page = await open({ viewport: { width: 1120, height: 1080 } });
    const path = process.env.STATUS_PAGE_IMAGE;
    // This test produced `docs/images/status-page.png`.
    if (path !== undefined) await page.screenshot({ path, fullPage: true });
    expect(await page.getByRole('heading', { level: 3 }).allInnerTexts()).to.deep.equal([
      'Servers',
      'Upgrade over time',
      'Conditions',
      'Who serves what',
    ]);
  });

  it('is dark if the reader prefers dark', async () => {
    const page = await open();
    const ground = async (colorScheme: 'light' | 'dark') => {
      await page.emulateMedia({ colorScheme });
      const color = await page.evaluate('getComputedStyle(document.documentElement).backgroundColor');
      return Number(/\d+/.exec(String(color))?.[0]);
    };
    expect(await ground('light')).to.be.greaterThan(200);
    expect(await ground('dark')).to.be.lessThan(50);
  });

  it('has names for a screen reader: headings, tables, charts in words, and states that are not colour alone', async () => {
    snapshot = upgradeSnapshot(now, { awayMs: 42_000 });
    const page = await open();
    const heard = (await page.locator('body').ariaSnapshot()).replaceAll("'", '');
    for (const line of [
      '- heading "Control plane" [level=1]',
      '- heading "cluster Complete, with 1 of 3 servers not ready" [level=2]',
      '- heading "Servers" [level=3]',
      '- heading "Upgrade over time" [level=3]',
      '- heading "Conditions" [level=3]',
      '- heading "Who serves what" [level=3]',
      '- table "Kube-apiservers of cluster"',
      '- table "Resources that differ"',
      '- columnheader "Discovery"',
      '- img "v1.36.3: 0, then 1"',
      '- img "v1.33.12: 3, then 2"',
      '- img "Ready: 3, then 2, then 3, then 2"',
      '- img "In doubt: no all the time"',
      '- searchbox "Search resources"',
      '- search "Who serves what"',
    ])
      expect(heard).to.contain(line);
    const row = page.getByRole('row', { name: /^control-plane-2/ });
    expect(await row.textContent())
      .to.contain('Unreachable')
      .and.contain('ConnectionFailed')
      .and.contain('42 s ago');
    // The same numbers as in the chart.
    await page.getByText('Show as a table').click();
    const history = page.getByRole('table', { name: 'What changed, the latest first' });
    expect(await history.getByRole('row').count()).to.equal(5);
    // Tables stay tables even when they are laid out as cards.
    await page.setViewportSize({ width: 360, height: 800 });
    expect(await page.getByRole('table', { name: 'Kube-apiservers of cluster' }).getByRole('row').count()).to.equal(4);
  });

  it('works with the keyboard alone, in the order of the page and with a visible focus', async () => {
    const page = await open();
    const order: string[] = [];
    for (let step = 0; step < 7; step += 1) {
      await page.keyboard.press('Tab');
      const { name, outline } = (await page.evaluate(`(() => {
        const element = document.activeElement;
        const { outlineStyle, outlineWidth } = getComputedStyle(element);
        const name = element.id || element.textContent.trim();
        return { name, outline: outlineStyle === 'none' ? 0 : Number.parseFloat(outlineWidth) };
      })()`)) as { name: string; outline: number };
      expect(outline, name).to.be.at.least(2);
      order.push(name);
    }
    expect(order).to.deep.equal([
      'Skip to the content',
      'pause',
      'Show as a table',
      'Fields differ in 17 resources',
      'search-cluster',
      'Search',
      'as JSON',
    ]);
    await page.goto(url);
    await page.keyboard.press('Tab');
    await page.keyboard.press('Enter');
    expect(await page.evaluate('document.activeElement.id')).to.equal('main');
    await page.keyboard.press('Tab');
    await page.keyboard.press('Enter');
    expect(await page.getByRole('table', { name: /^What changed/ }).isVisible()).to.equal(true);
  });

  it('searches while the user types, and keeps focus, words and open details when it updates', async () => {
    const page = await open();
    await page.getByText('Show as a table').click();
    const field = page.getByRole('searchbox', { name: 'Search resources' });
    await field.focus();
    await page.keyboard.type('resourceclaims');
    await page.clock.fastForward(300);
    await page.getByText('1 resource fits the search.').waitFor();
    expect(await page.getByRole('table', { name: 'Resources that fit the search' }).getByRole('row').count()).to.equal(
      2,
    );
    expect(page.url()).to.match(/\?q=resourceclaims$/);
    snapshot = upgradeSnapshot(now + 60_000);
    await turn(page);
    await page.getByText('As of 12:01:00 UTC').waitFor();
    expect(await field.inputValue()).to.equal('resourceclaims');
    expect(await page.evaluate('document.activeElement.id')).to.equal('search-cluster');
    expect(await page.getByRole('table', { name: /^What changed/ }).isVisible()).to.equal(true);
    await field.fill('');
    await page.clock.fastForward(300);
    await page.getByText('7 resources differ.').waitFor();
    expect(complaints).to.deep.equal([]);
  });

  it('updates itself when something happens, and announces it to screen readers', async () => {
    const page = await open();
    const told = page.locator('#announce');
    await turn(page);
    expect(await told.textContent()).to.equal('');
    snapshot = upgradeSnapshot(now, { awayMs: 42_000 });
    await turn(page);
    await page.getByRole('heading', { name: 'Complete, with 1 of 3 servers not ready' }).waitFor();
    expect(await told.textContent()).to.equal('cluster: Complete, with 1 of 3 servers not ready');
    expect(await page.title()).to.contain('Complete, with 1 of 3');
    await page.getByRole('button', { name: 'Pause' }).click();
    snapshot = calmSnapshot(now);
    await page.clock.fastForward(60_000);
    expect(await page.getByRole('heading', { name: 'All servers serve the same' }).count()).to.equal(0);
    await page.getByRole('button', { name: 'Resume' }).click();
    await page.getByRole('heading', { name: 'All servers serve the same' }).waitFor();
    expect(complaints).to.deep.equal([]);
  });

  it('says that its data is old when no server answers, and recovers', async () => {
    const page = await open();
    await page.route('**/status*', (route) => route.abort());
    await turn(page);
    await page.locator('#live-text', { hasText: 'No answer; what you see is old.' }).waitFor();
    expect(await page.getByRole('heading', { level: 2 }).count()).to.equal(1);
    await page.unroute('**/status*');
    await turn(page);
    await page.locator('#live-text', { hasText: 'As of' }).waitFor();
    expect(await page.locator('#announce').textContent()).to.match(/^Up to date again/);
  });

  it('can be read and searched without a script', async () => {
    const page = await open({ javaScriptEnabled: false });
    expect(await page.getByRole('button', { name: 'Pause' }).count()).to.equal(0);
    await page.getByRole('searchbox').fill('deployments');
    await page.keyboard.press('Enter');
    await page.getByText('1 resource fits the search.').waitFor();
    expect(await page.getByRole('row', { name: /^deployments\.v1\.apps/ }).textContent()).to.contain('all 3');
  });
});
