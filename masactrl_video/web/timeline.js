// The timeline of sources: pictures of the clip, and a marker wherever another source begins.
// The component's value is JSON: {frames, pictures, choices, sources: [[frame, what], ...]}.
let chosen = 0;
const state = () => { try { return JSON.parse(props.value || '{}'); } catch { return {}; } };
const make = (name, attributes = {}, ...children) => {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) {
    if (key in made && key !== 'list') made[key] = value; else made.setAttribute(key, value);
  }
  made.append(...children);
  return made;
};

function keep(now, focus) {
  now.sources.sort((one, other) => one[0] - other[0]);
  props.value = JSON.stringify(now);
  requestAnimationFrame(() => draw(focus));
}

// Frame 0 keeps its marker, and no two stand on the same frame.
function move(now, index, frame) {
  const wanted = Math.max(1, Math.min(now.frames - 1, frame));
  if (index === 0 || now.sources.some(([other], place) => other === wanted && place !== index)) return false;
  now.sources[index][0] = wanted;
  return true;
}

function add(now, frame) {
  const free = [...Array(now.frames).keys()].filter(one => !now.sources.some(([taken]) => taken === one));
  if (!free.length) return;
  const nearest = free.reduce((best, one) => Math.abs(one - frame) < Math.abs(best - frame) ? one : best);
  now.sources.push([nearest, 'generated']);
  now.sources.sort((one, other) => one[0] - other[0]);
  chosen = now.sources.findIndex(([one]) => one === nearest);
  keep(now, true);
}

function marker(now, index, track) {
  const [frame, what] = now.sources[index];
  const button = make('button', {
    type: 'button', className: 'mv-marker', title: `${what} from frame ${frame}`,
    'aria-label': `Source from frame ${frame}: ${what}`, 'aria-pressed': String(index === chosen),
  }, what);
  button.style.left = `${100 * frame / now.frames}%`;
  button.addEventListener('keydown', event => {
    const by = {ArrowLeft: -1, ArrowRight: 1, PageDown: -10, PageUp: 10}[event.key];
    if (by && move(now, index, frame + by)) { event.preventDefault(); chosen = index; keep(now, true); }
    if ((event.key === 'Delete' || event.key === 'Backspace') && index > 0) {
      now.sources.splice(index, 1); chosen = index - 1; keep(now, true);
    }
  });
  button.addEventListener('pointerdown', event => {
    chosen = index;
    button.setPointerCapture(event.pointerId);
    const box = track.getBoundingClientRect();
    const follow = moved => {
      const at = Math.round((moved.clientX - box.left) / box.width * now.frames);
      if (move(now, index, at)) button.style.left = `${100 * now.sources[index][0] / now.frames}%`;
    };
    button.addEventListener('pointermove', follow);
    button.addEventListener('pointerup', () => {
      button.removeEventListener('pointermove', follow);
      const frame = now.sources[index][0];
      now.sources.sort((one, other) => one[0] - other[0]);
      chosen = now.sources.findIndex(([one]) => one === frame);
      keep(now, true);
    }, {once: true});
  });
  return button;
}

function details(now) {
  const [frame, what] = now.sources[chosen];
  const number = make('input', {type: 'number', 'aria-label': 'From frame', min: 1, max: now.frames - 1, value: frame, disabled: chosen === 0});
  number.addEventListener('change', () => { move(now, chosen, Math.round(Number(number.value))); keep(now, false); });
  const kinds = make('select', {'aria-label': 'Source'}, ...now.choices.map(one => make('option', {value: one, selected: one === what}, one)));
  kinds.addEventListener('change', () => { now.sources[chosen][1] = kinds.value; keep(now, false); });
  const remove = make('button', {type: 'button', disabled: chosen === 0}, 'Remove');
  remove.addEventListener('click', () => { now.sources.splice(chosen, 1); chosen -= 1; keep(now, true); });
  const more = make('button', {type: 'button'}, 'Add a source');
  more.addEventListener('click', () => add(now, Math.round((frame + now.frames) / 2)));
  return make('div', {className: 'mv-timeline-details'},
    make('span', {}, 'From frame ', number), make('span', {}, 'Source ', kinds), remove, more);
}

function draw(focus) {
  const now = state(), place = element.querySelector('.mv-timeline');
  if (!place) return;
  if (!now.frames) { place.replaceChildren('Drop a clip first: its frames are shown here.'); return; }
  chosen = Math.max(0, Math.min(chosen, now.sources.length - 1));
  const track = make('div', {className: 'mv-track'});
  const pictures = make('div', {className: 'mv-track-pictures'},
    ...now.pictures.map(url => make('img', {src: url, alt: '', draggable: false})));
  pictures.addEventListener('dblclick', event => {
    const box = track.getBoundingClientRect();
    add(now, Math.floor((event.clientX - box.left) / box.width * now.frames));
  });
  const markers = make('div', {className: 'mv-markers'});
  now.sources.forEach((_, index) => markers.append(marker(now, index, track)));
  track.append(pictures, markers);
  place.replaceChildren(track, details(now));
  if (focus) markers.children[chosen]?.focus();
}

watch('value', () => draw(false));
draw(false);
