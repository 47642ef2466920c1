#!/usr/bin/env bash
# Makes the pictures of the README and of docs/ again, by the commands that stand there: examples/make_pictures.sh [FOLDER]
# Run it after other weights have been put into masactrl_video/demo/weights. FOLDER: this one, if not given.
set -euo pipefail
examples=$(cd "$(dirname "$0")" && pwd)
pictures=$(realpath "${1:-$examples}")
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
ln -s "$examples" examples
export MASACTRL_VIDEO_CHARACTERS=$work/characters MASACTRL_VIDEO_CACHE=$work/cache
sheet() { python examples/contact_sheet.py "$pictures/$1" "${@:2}"; }
moving() { python examples/moving_picture.py "$pictures/$1" "$2"; }
shot() { python "$examples/../tests/web/screenshots.py" shots --front "$pictures/$1"; }
set -x

masactrl-video render examples/clip.mp4 -o out.mp4
sheet render.jpg 6 examples/clip.mp4 out/guidance-canny.mp4 out.mp4
moving render.webp out/side-by-side.mp4

masactrl-video pose tween standing waving cheering --every 4 --loop -o moves.json
masactrl-video animate moves.json -o moves.mp4 --prompt "a frog in a yellow shirt and green pants dancing in the snow" --seed 1
sheet animate.jpg 6 moves/guidance-pose.mp4 moves.mp4

masactrl-video comic examples/comic.yaml -o page.png
sheet comic.jpg 1 page.png

masactrl-video source make hero --prompt "a bear in a red shirt and blue pants standing in the meadow" --pose standing --words bear
masactrl-video render examples/clip.mp4 -o hero.mp4 --character hero --guidance pose --frame-load-cap 6
sheet hero.jpg 6 hero.mp4

masactrl-video source make frog --prompt "a frog in a red shirt and blue pants standing in the snow" --pose standing --words frog --seed 3
masactrl-video sprites frog -o frog.png --actions idle walk run jump wave --cell 128 --palette 32
sheet sprites.jpg 1 frog.png

masactrl-video synthesize -o stills --source-prompt "a panda in a blue shirt and red pants standing in the meadow" --prompt "a panda in a blue shirt and red pants waving in the meadow" "a panda in a blue shirt and red pants sitting in the meadow" --source-guidance pose=standing --target-guidance pose=waving pose=sitting
sheet synthesize.jpg 1 stills/sheet.png

masactrl-video edit hero/source.png -o edited --prompt "a bear in a red shirt and blue pants cheering in the meadow" --target-guidance pose=cheering
sheet edit.jpg 1 edited/sheet.png

masactrl-video sweep -o swept --source-prompt "a panda in a blue shirt and red pants standing in the meadow" --source-guidance pose=standing --prompt "a panda in a blue shirt and red pants waving in the meadow" --target-guidance pose=waving --rows masa_step=0,2,6,20 --columns masa_layer=0,8,10,13
sheet sweep.jpg 1 swept/sheet.png

masactrl-video compare -o compared --source-prompt "a panda in a blue shirt and red pants standing in the meadow" --source-guidance pose=standing --prompt "a panda in a blue shirt and red pants waving in the meadow" --target-guidance pose=waving
sheet compare.jpg 1 compared/sheet.png

# A picture of the page wants a browser: pip install -e '.[web,browser]', and Chromium.
shot web.jpg

# Pictures of ComfyUI's workflows want ComfyUI: COMFYUI_PATH=/path/to/ComfyUI python tests/comfyui/make_pictures.py
