// What Phaser and PixiJS read of a sheet's descriptions, as JSON: node readers.cjs NODE_MODULES GAME_FOLDER NAME SIDE
const fs = require('fs'), path = require('path');
const [modules, game, name, side] = process.argv.slice(2);
const load = file => require(path.join(modules, file));
const read = kind => JSON.parse(fs.readFileSync(path.join(game, `${name}.${kind}.json`)));
console.warn = text => { throw new Error(text); };  // Phaser warns of what it cannot use, and goes on

const Texture = load('phaser/src/textures/Texture.js'), Manager = load('phaser/src/animations/AnimationManager.js');
const parsers = { array: load('phaser/src/textures/parsers/JSONArray.js'), hash: load('phaser/src/textures/parsers/JSONHash.js') };

function phaser(kind, parser) {
    const texture = new Texture({ game: null }, name, []);
    texture.source = [{ width: +side, height: +side, resolution: 1, texture: null }];
    parsers[parser](texture, 0, read(kind));
    return texture;
}

function frames(texture) {
    return texture.getFrameNames().map(key => {
        const frame = texture.get(key);
        return [key, frame.cutX, frame.cutY, frame.cutWidth, frame.cutHeight, frame.pivotX, frame.pivotY];
    });
}

function manager(texture, json) {
    const events = { once() {}, on() {} };
    const made = new Manager({ events, cache: { json: { get: () => json } } });
    made.textureManager = { getFrame: (key, frame) => key === name && texture.has(frame) ? texture.get(frame) : null };
    return made;
}

function played(animation) {
    const lasts = frame => frame.duration || animation.msPerFrame;
    return [animation.key, animation.frames.map(frame => frame.frame.name), animation.frames.map(lasts), animation.repeat];
}

const atlas = phaser('phaser', 'array'), hash = phaser('texturepacker', 'hash'), aseprite = phaser('aseprite', 'array');
const told = {
    atlas: frames(atlas),
    hash: frames(hash),
    aseprite: frames(aseprite),
    animations: manager(atlas).fromJSON(read('phaser-animations')).map(played),
    tags: manager(aseprite, read('aseprite')).createFromAseprite(name).map(played),
};

const { Spritesheet } = load('pixi.js/lib/spritesheet/Spritesheet.js');
const pixi = load('pixi.js/lib/rendering/renderers/shared/texture/Texture.js').Texture.WHITE;
const sheet = new Spritesheet(pixi, read('texturepacker'));
sheet.parse().then(textures => {
    told.pixi = Object.entries(textures).map(([key, { frame, defaultAnchor: at }]) =>
        [key, frame.x, frame.y, frame.width, frame.height, at.x, at.y]);
    const names = new Map(Object.entries(textures).map(([key, texture]) => [texture, key]));
    told.pixiAnimations = Object.entries(sheet.animations).map(([key, list]) => [key, list.map(one => names.get(one))]);
    process.stdout.write(JSON.stringify(told));
});
