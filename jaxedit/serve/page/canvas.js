// The photo, and the mask that is drawn on it. The page reads both by `window.jaxeditCanvas()`.
const find = (name) => element.querySelector(name);
const picture = find(".picture"), mask = find(".mask"), status = find(".status");
const pen = mask.getContext("2d");
const SIDES = [512, 1024]; // pixels, smallest and largest long side of the mask that is drawn
let state = { photo: null, mask_file: null, drawn: false, busy: null };

const say = (text) => { status.textContent = text; };

function show(isThere) {
  find(".drop").hidden = isThere;
  find(".board").hidden = find(".tools").hidden = !isThere;
}

function clearMask() {
  pen.clearRect(0, 0, mask.width, mask.height);
  Object.assign(state, { drawn: false, mask_file: null });
  find(".mask-file").value = "";
  say("Paint white where the photo may change. Without a mask, all of it may.");
}

function paint(source) {
  const image = new Image();
  image.onload = () => {
    const long = Math.max(image.naturalWidth, image.naturalHeight);
    const scale = Math.min(Math.max(long, SIDES[0]), SIDES[1]) / long;
    for (const canvas of [picture, mask]) {
      canvas.width = Math.max(1, Math.round(image.naturalWidth * scale));
      canvas.height = Math.max(1, Math.round(image.naturalHeight * scale));
    }
    const context = picture.getContext("2d");
    context.imageSmoothingEnabled = scale < 1;
    context.drawImage(image, 0, 0, picture.width, picture.height);
    clearMask();
    show(true);
  };
  image.onerror = () => {
    picture.width = picture.height = mask.width = mask.height = 1;
    clearMask();
    show(true);
    say("This browser cannot show the file. It is edited all the same if the server can read it.");
  };
  image.src = source;
}

async function send(file) {
  const { path } = await upload(file);
  return { path, name: file.name };
}

function use(file) {
  if (!file) return;
  say("Reading " + file.name + " ...");
  paint(URL.createObjectURL(file));
  const sent = send(file);
  state.photo = null;
  state.busy = sent.then((photo) => { state.photo = photo; }, () => {
    state.photo = null;
    say("The photo could not be sent to the server: it may be too large.");
  });
}

function useExample() {
  state.photo = { example: true };
  paint(props.example);
}

// Drawing, with a mouse, a pen or a finger.
let last = null;
function at(event) {
  const box = mask.getBoundingClientRect();
  return [
    ((event.clientX - box.left) * mask.width) / box.width,
    ((event.clientY - box.top) * mask.height) / box.height,
  ];
}
function stroke(event) {
  const point = at(event);
  pen.globalCompositeOperation = find(".erase").checked ? "destination-out" : "source-over";
  pen.strokeStyle = "white";
  pen.lineCap = pen.lineJoin = "round";
  pen.lineWidth = (find(".size").value / 100) * Math.max(mask.width, mask.height);
  pen.beginPath();
  pen.moveTo(...(last || point));
  pen.lineTo(...point);
  pen.stroke();
  last = point;
  state.drawn = true;
}
mask.addEventListener("pointerdown", (event) => {
  mask.setPointerCapture(event.pointerId);
  last = null;
  stroke(event);
});
mask.addEventListener("pointermove", (event) => { if (event.buttons) stroke(event); });
mask.addEventListener("pointerup", () => { last = null; });

find(".photo-file").addEventListener("change", (event) => use(event.target.files[0]));
find(".example").addEventListener("click", useExample);
find(".clear").addEventListener("click", clearMask);
find(".other").addEventListener("click", () => {
  state.photo = null;
  find(".photo-file").value = "";
  show(false);
  say("Without a mask, all of the photo may change.");
});
find(".mask-file").addEventListener("change", (event) => {
  const file = event.target.files[0];
  if (!file) return;
  state.busy = send(file).then((sent) => {
    state.mask_file = sent;
    say("The mask is " + file.name + ": white, or transparent, where the photo may change.");
  }, () => say("The mask could not be sent to the server: it may be too large."));
});
for (const name of ["dragover", "drop"]) {
  element.addEventListener(name, (event) => {
    event.preventDefault();
    if (name === "drop") use(event.dataTransfer.files[0]);
  });
}

window.jaxeditCanvas = async () => {
  await state.busy;
  const isBlank = !state.drawn ||
    !new Uint32Array(pen.getImageData(0, 0, mask.width, mask.height).data.buffer).some(Boolean);
  return {
    photo: state.photo,
    mask_file: state.mask_file,
    mask: isBlank ? null : mask.toDataURL("image/png"),
  };
};
if (new URLSearchParams(location.search).get("picture") === "example") useExample();
