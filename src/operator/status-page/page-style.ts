/** Light or dark by the reader's own setting. Every pair of text and background has a contrast of at least 4.5. */
export const pageStyle = `
:root{color-scheme:light dark;--ground:#f6f7f8;--card:#fff;--ink:#1b1f24;--soft:#545d68;--line:#dfe3e8;--link:#0a53be;
--good:#11663a;--good-ground:#e6f4ea;--note:#0a53be;--note-ground:#e8f0fc;--warning:#8a4b00;--warning-ground:#fdf1dc;--bad:#a8122c;--bad-ground:#fdebed;--mark:#fff}
@media (prefers-color-scheme:dark){:root{--ground:#0e1116;--card:#161b22;--ink:#e6e9ed;--soft:#a2acb8;--line:#2b333d;--link:#8ab8ff;
--good:#6fd394;--good-ground:#12291c;--note:#8ab8ff;--note-ground:#13233c;--warning:#f2b552;--warning-ground:#2f2410;--bad:#ff9aa2;--bad-ground:#35161b;--mark:#0e1116}}
*{box-sizing:border-box}
html{font:100%/1.5 system-ui,-apple-system,"Segoe UI",Roboto,"Noto Sans","Liberation Sans",sans-serif;background:var(--ground);color:var(--ink);-webkit-text-size-adjust:100%}
body{margin:0;overflow-wrap:anywhere}
.wide{max-width:70rem;margin:0 auto;padding:0 1.25rem}
h1,h2,h3,h4,p,dl,dd,ul{margin:0}
h1{font-size:1.5rem;line-height:1.2;font-weight:650;letter-spacing:-.01em}
h2{font-size:1.375rem;line-height:1.3;font-weight:650;letter-spacing:-.01em}
h3{font-size:1.0625rem;font-weight:650;margin-bottom:.75rem}
h4{font-size:.9375rem;margin:1rem 0 .25rem}
a{color:var(--link)}
code,.mono{font-family:ui-monospace,SFMono-Regular,Menlo,Consolas,"Liberation Mono",monospace;font-size:.875em}
.unseen{position:absolute;width:1px;height:1px;overflow:hidden;clip-path:inset(50%);white-space:nowrap}
.skip{position:absolute;left:-99rem;top:0;padding:.5rem 1rem;background:var(--card)}
.skip:focus{left:0;z-index:1}
:focus-visible{outline:3px solid var(--link);outline-offset:2px;border-radius:4px}
main:focus{outline:none}
.top .wide{display:flex;flex-wrap:wrap;gap:.75rem;justify-content:space-between;align-items:end;padding-top:1.75rem;padding-bottom:1.25rem}
.brand{color:var(--soft);font-size:.875rem}
.live{display:flex;align-items:center;gap:.75rem;color:var(--soft);font-size:.875rem;font-variant-numeric:tabular-nums}
.old .live{color:var(--warning);font-weight:600}
button{font:inherit;font-size:.875rem;color:var(--ink);background:var(--card);border:1px solid var(--soft);border-radius:6px;padding:.3125rem .875rem;cursor:pointer}
button:hover{border-color:var(--ink)}
.card{background:var(--card);border:1px solid var(--line);border-radius:10px;padding:1.25rem 1.375rem;margin-bottom:1rem}
article+article{margin-top:2.5rem}
.trouble{background:var(--warning-ground);border-radius:10px;padding:.75rem 1rem;margin-bottom:1rem}
.icon{width:1em;height:1em;flex:none;vertical-align:-.125em;fill:currentColor;stroke:var(--mark);stroke-width:1.7;stroke-linecap:round;stroke-linejoin:round}
.icon.good{color:var(--good)}.icon.note{color:var(--note)}.icon.warning{color:var(--warning)}.icon.bad{color:var(--bad)}
symbol circle,symbol rect,symbol .fill{stroke:none}symbol path:not(.fill){fill:none}
.verdict{display:grid;grid-template-columns:auto 1fr;gap:0 1rem;border:0}
.verdict.good{background:var(--good-ground)}.verdict.note{background:var(--note-ground)}.verdict.warning{background:var(--warning-ground)}.verdict.bad{background:var(--bad-ground)}
.verdict>.icon{width:2rem;height:2rem;margin-top:1.375rem}
.object{display:block;font-size:.875rem;font-weight:400;letter-spacing:0;color:var(--soft)}
.facts{grid-column:1/-1;display:grid;grid-template-columns:repeat(auto-fit,minmax(7.5rem,1fr));gap:.75rem 1.5rem;margin-top:1.125rem;padding-top:1rem;border-top:1px solid var(--line)}
dt{font-size:.8125rem;color:var(--soft)}
dd{font-size:1.25rem;font-weight:600;line-height:1.3;font-variant-numeric:tabular-nums}
.lead{margin-bottom:.75rem}
.aside,.empty,footer{font-size:.875rem;color:var(--soft)}
.faint{color:var(--soft)}
table{border-collapse:collapse;width:100%;font-size:.9375rem;font-variant-numeric:tabular-nums}
th,td{text-align:left;vertical-align:top;padding:.5625rem 1rem .5625rem 0;border-top:1px solid var(--line);font-weight:400}
thead th{border:0;padding-top:0;white-space:nowrap;font-size:.8125rem;color:var(--soft)}
tbody th{font-weight:600}
th.mono{font-weight:400}
th:last-child,td:last-child{padding-right:0}
.nowrap{white-space:nowrap}
.sub{display:block;font-size:.8125rem;font-weight:400;color:var(--soft);max-width:24rem}
.id{font-family:ui-monospace,SFMono-Regular,Menlo,Consolas,"Liberation Mono",monospace;font-size:.75rem}
.state{display:inline-flex;gap:.5rem;align-items:center;font-weight:600}
.conditions{list-style:none;padding:0;display:grid;grid-template-columns:repeat(auto-fit,minmax(min(100%,26rem),1fr));gap:1rem 2rem}
.conditions li{display:flex;gap:.625rem}
.conditions .icon{margin-top:.25rem}
.plain-list{padding-left:1.125rem;font-size:.875rem}
.lane{display:grid;grid-template-columns:9rem 1fr 5.5rem;gap:0 1rem;align-items:center;padding:.25rem 0}
.lane svg{display:block;width:100%;height:1.75rem;border-bottom:1px solid var(--line)}
.lane-label{font-size:.875rem}
.lane-now{font-size:.875rem;font-weight:600;font-variant-numeric:tabular-nums}
.lane polygon{fill:currentColor;fill-opacity:.18}
.lane polyline{fill:none;stroke:currentColor;stroke-width:1.5;vector-effect:non-scaling-stroke}
.lane.version svg{color:var(--note)}.lane.ready svg{color:var(--good)}.lane.differences svg,.lane.doubt svg{color:var(--warning)}
.lane.version+.ready{margin-top:.5rem}
.axis{padding:.125rem 0 .5rem}
.ticks{display:flex;justify-content:space-between;font-size:.75rem;color:var(--soft);font-variant-numeric:tabular-nums}
details{margin-top:.75rem;font-size:.9375rem}
summary{cursor:pointer;color:var(--link);width:fit-content}
.scroll{overflow-x:auto;margin-top:.5rem}
.plain th,.plain td{white-space:nowrap;padding-top:.375rem;padding-bottom:.375rem}
label{display:block;font-size:.875rem;color:var(--soft);margin-bottom:.25rem}
.field{display:flex;gap:.5rem;max-width:32rem;margin-bottom:.625rem}
input{flex:1;min-width:0;font:inherit;color:var(--ink);background:var(--ground);border:1px solid var(--soft);border-radius:6px;padding:.375rem .75rem}
input::placeholder{color:var(--soft);opacity:1}
form+.aside{margin-bottom:.75rem}
footer{padding-bottom:2.5rem!important}
@media (max-width:44rem){
.wide{padding:0 .875rem}.card{padding:1rem}
.stack thead{position:absolute;width:1px;height:1px;overflow:hidden;clip-path:inset(50%)}
.stack,.stack tbody,.stack tr,.stack th,.stack td{display:block}
.stack tr{border-top:1px solid var(--line);padding:.625rem 0}
.stack tbody tr:first-child{border:0;padding-top:0}
.stack tbody th,.stack td{border:0;padding:.125rem 0}
.stack td{display:grid;grid-template-columns:6.5rem 1fr;gap:0 .75rem}
.stack td::before{content:attr(data-label);font-size:.8125rem;color:var(--soft);padding-top:.0625rem}
.stack td>*{grid-column:2}
.nowrap{white-space:normal}
.lane{grid-template-columns:1fr auto}
.lane svg,.ticks{grid-column:1/-1;grid-row:2}
.axis>span:not(.ticks){display:none}
}
@media (forced-colors:active){.icon{stroke:Canvas;fill:CanvasText}.lane polygon{fill:CanvasText}.card{border:1px solid}}
@media print{.live,form,.skip{display:none}}
`;
