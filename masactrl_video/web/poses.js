// The skeleton editor: joints that are dragged, key poses, and their neighbours as an onion skin.
// The component's value is JSON: {width, height, limbs, names, keys: [{frame, people: [[[x, y, seen], ...]]}]}.
let chosen = 0, joint = null;
const SVG = 'http://www.w3.org/2000/svg';
const state = () => { try { return JSON.parse(props.value || '{}'); } catch { return {}; } };
const make = (name, attributes = {}, ...children) => {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) {
    if (key in made && key !== 'list') made[key] = value; else made.setAttribute(key, value);
  }
  made.append(...children);
  return made;
};
const drawn = (name, attributes) => {
  const made = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  return made;
};
const colour = (number, count) => `hsl(${Math.round(360 * number / count)} 90% 55%)`;

function keep(now, focus) {
  now.keys.sort((one, other) => one.frame - other.frame);
  props.value = JSON.stringify(now);
  requestAnimationFrame(() => draw(focus));
}

function skeleton(now, key, faint) {
  const group = drawn('g', {opacity: faint ? 0.25 : 1, 'aria-hidden': faint ? 'true' : 'false'});
  const wide = Math.max(now.width, now.height) / 90;
  key.people.forEach((points, person) => {
    now.limbs.forEach(([from, to], number) => {
      const [one, other] = [points[from], points[to]];
      if (!one[2] || !other[2]) return;
      group.append(drawn('line', {
        x1: one[0], y1: one[1], x2: other[0], y2: other[1], stroke: colour(number, now.limbs.length),
        'stroke-width': wide, 'stroke-linecap': 'round', 'data-limb': `${person}-${from}-${to}`,
      }));
    });
    if (!faint) points.forEach((_, number) => group.append(handle(now, key, person, number, wide)));
  });
  return group;
}

function place(now, key, person, number, x, y) {
  const point = key.people[person][number];
  point[0] = Math.max(0, Math.min(now.width, Math.round(x * 10) / 10));
  point[1] = Math.max(0, Math.min(now.height, Math.round(y * 10) / 10));
}

function handle(now, key, person, number, wide) {
  const point = key.people[person][number];
  const dot = drawn('circle', {
    cx: point[0], cy: point[1], r: wide * 0.95, tabindex: 0, role: 'button', class: 'mv-joint',
    fill: point[2] ? colour(number, now.names.length) : 'none', stroke: 'white', 'stroke-width': wide / 4,
    'stroke-dasharray': point[2] ? 'none' : `${wide / 3}`,
    'aria-label': `${now.names[number]}${key.people.length > 1 ? ` of person ${person}` : ''}${point[2] ? '' : ', not seen'}`,
  });
  const mark = [person, number];
  const moved = () => {
    dot.setAttribute('cx', point[0]); dot.setAttribute('cy', point[1]);
    for (const line of element.querySelectorAll('line[data-limb]')) {
      const [who, from, to] = line.dataset.limb.split('-').map(Number);
      if (who !== person || line.parentNode !== dot.parentNode) continue;
      if (from === number) { line.setAttribute('x1', point[0]); line.setAttribute('y1', point[1]); }
      if (to === number) { line.setAttribute('x2', point[0]); line.setAttribute('y2', point[1]); }
    }
  };
  dot.addEventListener('pointerdown', event => {
    event.preventDefault();
    dot.setPointerCapture(event.pointerId);
    const board = dot.ownerSVGElement, turned = board.getScreenCTM().inverse();
    const follow = to => {
      const at = new DOMPoint(to.clientX, to.clientY).matrixTransform(turned);
      place(now, key, person, number, at.x, at.y);
      moved();
    };
    dot.addEventListener('pointermove', follow);
    dot.addEventListener('pointerup', () => { dot.removeEventListener('pointermove', follow); keep(now, mark); }, {once: true});
  });
  dot.addEventListener('dblclick', () => { point[2] = point[2] ? 0 : 1; keep(now, mark); });
  dot.addEventListener('keydown', event => {
    const by = {ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1]}[event.key];
    const far = (event.shiftKey ? 10 : 1) * Math.max(now.width, now.height) / 256;
    if (by) { event.preventDefault(); place(now, key, person, number, point[0] + by[0] * far, point[1] + by[1] * far); keep(now, mark); }
    if (event.key === 'Delete' || event.key === ' ') { event.preventDefault(); point[2] = point[2] ? 0 : 1; keep(now, mark); }
  });
  return dot;
}

function controls(now) {
  const key = now.keys[chosen];
  const list = make('div', {className: 'mv-keys', role: 'group', 'aria-label': 'Key poses'}, ...now.keys.map((one, index) => {
    const button = make('button', {type: 'button', 'aria-pressed': String(index === chosen)}, `frame ${one.frame}`);
    button.addEventListener('click', () => { chosen = index; draw(); });
    return button;
  }));
  const frame = make('input', {type: 'number', 'aria-label': 'Frame of this key pose', min: 0, value: key.frame, disabled: chosen === 0});
  frame.addEventListener('change', () => {
    const wanted = Math.max(1, Math.round(Number(frame.value)));
    if (chosen > 0 && !now.keys.some((one, index) => one.frame === wanted && index !== chosen)) key.frame = wanted;
    now.keys.sort((one, other) => one.frame - other.frame);
    chosen = now.keys.indexOf(key);
    keep(now);
  });
  const copy = make('button', {type: 'button'}, 'Add a key pose');
  copy.addEventListener('click', () => {
    const last = now.keys[now.keys.length - 1];
    const gap = now.keys.length > 1 ? last.frame - now.keys[now.keys.length - 2].frame : 12;
    now.keys.push({frame: last.frame + gap, people: JSON.parse(JSON.stringify(key.people))});
    chosen = now.keys.length - 1;
    keep(now);
  });
  const remove = make('button', {type: 'button', disabled: now.keys.length < 2}, 'Remove it');
  remove.addEventListener('click', () => {
    now.keys.splice(chosen, 1);
    if (chosen === 0) now.keys.forEach((one, index, all) => { one.frame -= index ? all[0].frame : 0; });
    if (chosen === 0) now.keys[0].frame = 0;
    chosen = Math.max(0, chosen - 1);
    keep(now);
  });
  return [list, make('div', {className: 'mv-timeline-details'}, make('span', {}, 'Frame ', frame), copy, remove)];
}

function draw(focus) {
  const now = state(), where = element.querySelector('.mv-poses');
  if (!where) return;
  if (!now.keys || !now.keys.length) { where.replaceChildren('There is no pose yet.'); return; }
  chosen = Math.max(0, Math.min(chosen, now.keys.length - 1));
  const board = drawn('svg', {viewBox: `0 0 ${now.width} ${now.height}`, class: 'mv-board', role: 'group', 'aria-label': 'Skeleton'});
  for (const near of [chosen - 1, chosen + 1]) if (now.keys[near]) board.append(skeleton(now, now.keys[near], true));
  const own = skeleton(now, now.keys[chosen], false);
  board.append(own);
  where.replaceChildren(board, ...controls(now));
  if (focus) {
    const [person, number] = focus;
    own.querySelectorAll('circle')[person * now.names.length + number]?.focus();
  }
}

watch('value', () => draw());
draw();
