/** Paints the operating field on a canvas. Knows how things look, nothing of the protocol. */

import { ARTERY, ARTERY_RADIUS, FRAGMENT_RADIUS, HEIGHT, TUMOUR, WIDTH, kidneyOutline } from "./anatomy.js";

const TRAIL_MAX = 60;
const BLOOD_GROWS_MS = 9000;

const outline = kidneyOutline();

export class Painter {
  constructor(canvas) {
    this.canvas = canvas;
    this.context = canvas.getContext("2d");
    this.trail = [];
    this.bleedingSince = new Map();
    this.resize();
    new ResizeObserver(() => this.resize()).observe(canvas);
  }

  resize() {
    const { width, height } = this.canvas.getBoundingClientRect();
    const density = Math.min(2, window.devicePixelRatio || 1);
    this.canvas.width = Math.max(1, Math.round(width * density));
    this.canvas.height = Math.max(1, Math.round(height * density));
  }

  /** Scene coordinates of a pointer event. */
  placeOf({ clientX, clientY }) {
    const box = this.canvas.getBoundingClientRect();
    return {
      x: ((clientX - box.left) / box.width - 0.5) * WIDTH,
      y: (0.5 - (clientY - box.top) / box.height) * HEIGHT,
    };
  }

  forget() {
    this.trail = [];
    this.bleedingSince.clear();
  }

  paint(field, now) {
    const { context, canvas } = this;
    const scale = canvas.width / WIDTH;
    context.setTransform(1, 0, 0, 1, 0, 0);
    this.#drape();
    // From here on: scene units, y upwards.
    context.setTransform(scale, 0, 0, -scale, canvas.width / 2, canvas.height / 2);
    context.lineJoin = "round";
    context.lineCap = "round";
    this.#vessels(ARTERY.slice(0, 1));
    this.#kidney();
    this.#vessels(ARTERY);
    this.#scratches(field.scratches);
    this.#tumour(field.fragments);
    this.#blood(field.wounds, now);
    this.#path(field);
    this.#instrument(field);
  }

  #drape() {
    const { context, canvas } = this;
    const { width, height } = canvas;
    const light = context.createRadialGradient(
      width * 0.46, height * 0.42, height * 0.1, width * 0.46, height * 0.42, width * 0.68,
    );
    light.addColorStop(0, "#1f4d53");
    light.addColorStop(0.55, "#14363b");
    light.addColorStop(1, "#0b2024");
    context.fillStyle = light;
    context.fillRect(0, 0, width, height);
  }

  #kidney() {
    const { context } = this;
    const body = shapeOf(outline);
    context.save();
    context.translate(0.18, -0.28);
    context.fillStyle = "rgb(0 0 0 / 35%)";
    context.fill(body);
    context.restore();
    const flesh = context.createRadialGradient(-1.8, 2.2, 0.5, -0.4, 0.2, 7.6);
    flesh.addColorStop(0, "#c98878");
    flesh.addColorStop(0.45, "#a65a4d");
    flesh.addColorStop(1, "#6d2f2b");
    context.fillStyle = flesh;
    context.fill(body);
    context.strokeStyle = "rgb(60 20 18 / 55%)";
    context.lineWidth = 0.09;
    context.stroke(body);
    context.save();
    context.clip(body);
    context.strokeStyle = "rgb(255 214 198 / 12%)";
    context.lineWidth = 0.5;
    context.translate(-0.12, 0.24);
    context.stroke(body);
    context.restore();
  }

  #vessels(branches) {
    const { context } = this;
    for (const [colour, width] of [["#5e0f17", 2.5], ["#b21f2d", 2], ["#d9505a", 0.6]]) {
      context.strokeStyle = colour;
      context.lineWidth = ARTERY_RADIUS * width;
      branches.forEach((branch) => context.stroke(curveOf(branch)));
    }
  }

  #tumour(fragments) {
    const { context } = this;
    context.fillStyle = "rgb(70 26 24 / 60%)";
    context.fill(discOf(TUMOUR.x, TUMOUR.y, TUMOUR.radius + 0.1));
    for (const { x, y, isTouched, isRemoved } of fragments) {
      if (isRemoved) {
        context.fillStyle = "rgb(40 14 14 / 70%)";
        context.fill(discOf(x, y, FRAGMENT_RADIUS * 0.7));
        continue;
      }
      const shade = context.createRadialGradient(x - 0.09, y + 0.1, 0.02, x, y, FRAGMENT_RADIUS);
      shade.addColorStop(0, "#fff3cf");
      shade.addColorStop(0.6, isTouched ? "#d8b36a" : "#e8d49a");
      shade.addColorStop(1, isTouched ? "#9a7434" : "#b39a5b");
      context.fillStyle = shade;
      context.fill(discOf(x, y, FRAGMENT_RADIUS));
      if (isTouched) {
        context.strokeStyle = "rgb(95 55 20 / 80%)";
        context.lineWidth = 0.04;
        context.stroke(curveOf([[x - 0.14, y + 0.1], [x, y - 0.02], [x + 0.12, y - 0.12]]));
      }
    }
  }

  #scratches(places) {
    const { context } = this;
    context.strokeStyle = "#5b1d22";
    context.lineWidth = 0.07;
    for (const { x, y } of places) {
      context.stroke(curveOf([[x - 0.2, y - 0.1], [x, y + 0.04], [x + 0.2, y + 0.12]]));
    }
  }

  #blood(wounds, now) {
    const { context } = this;
    wounds.forEach((wound, index) => {
      if (!this.bleedingSince.has(index)) {
        this.bleedingSince.set(index, now);
      }
      const age = Math.min(1, (now - this.bleedingSince.get(index)) / BLOOD_GROWS_MS);
      const reach = 0.25 + 1.1 * Math.sqrt(age);
      const pool = context.createRadialGradient(wound.x, wound.y, 0.05, wound.x, wound.y, reach);
      pool.addColorStop(0, "rgb(150 6 20 / 95%)");
      pool.addColorStop(0.7, "rgb(125 4 16 / 80%)");
      pool.addColorStop(1, "rgb(110 2 14 / 0%)");
      context.fillStyle = pool;
      context.fill(discOf(wound.x, wound.y, reach));
    });
  }

  #path({ tip }) {
    const { context } = this;
    this.trail = [...this.trail, [tip.x, tip.y]].slice(-TRAIL_MAX);
    context.strokeStyle = "rgb(190 235 238 / 30%)";
    context.lineWidth = 0.05;
    context.stroke(curveOf(this.trail));
  }

  #instrument({ tip, isPressed }) {
    const { context } = this;
    const lift = isPressed ? 0.06 : 0.42;
    const shaft = (dx, dy) => curveOf([
      [tip.x + dx, tip.y + dy], [tip.x + 1.5 + dx, tip.y - 1.15 + dy], [tip.x + 21.5 + dx, tip.y - 17.3 + dy],
    ]);
    context.strokeStyle = "rgb(0 0 0 / 35%)";
    context.lineWidth = 0.26;
    context.stroke(shaft(lift * 0.5, -lift));
    context.strokeStyle = "#7d8d93";
    context.stroke(shaft(0, 0));
    context.strokeStyle = "#dde7ea";
    context.lineWidth = 0.1;
    context.stroke(shaft(-0.03, 0.05));
    context.fillStyle = "#f4f8f9";
    const blade = new Path2D();
    blade.moveTo(tip.x, tip.y);
    blade.lineTo(tip.x + 0.95, tip.y - 0.5);
    blade.lineTo(tip.x + 0.7, tip.y - 0.82);
    blade.closePath();
    context.fill(blade);
    context.strokeStyle = isPressed ? "#ffd166" : "rgb(255 255 255 / 70%)";
    context.lineWidth = 0.06;
    context.stroke(discOf(tip.x, tip.y, isPressed ? 0.16 : 0.26));
  }
}

function shapeOf(points) {
  const path = curveOf(points);
  path.closePath();
  return path;
}

function curveOf(points) {
  const path = new Path2D();
  points.forEach(([x, y], index) => (index ? path.lineTo(x, y) : path.moveTo(x, y)));
  return path;
}

function discOf(x, y, radius) {
  const path = new Path2D();
  path.arc(x, y, radius, 0, 2 * Math.PI);
  return path;
}
