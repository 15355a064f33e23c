// What both pages are made of: rows of the panel, numbers as text, a world map without tiles.
// Titles and notes come from strangers: they only ever enter the page as text, never as markup.
"use strict";
const data = JSON.parse(document.getElementById("data").textContent);
const panel = document.getElementById("panel");
const PIN = `<svg width="30" height="42" viewBox="0 0 30 42"><path d="M15 41C15 41 2 24 2 15a13 13 0 0 1
  26 0c0 9-13 26-13 26z" fill="#c2410c" stroke="#fff" stroke-width="2"/><circle cx="15" cy="15" r="5" fill="#fff"/></svg>`;
const icons = {
  pin: L.divIcon({ className: "pin", html: PIN, iconSize: [30, 42], iconAnchor: [15, 41], popupAnchor: [0, -36] }),
  truth: L.divIcon({ className: "truth", iconSize: [20, 20] }),
  match: (number) => L.divIcon({ className: "dot", html: String(number), iconSize: [22, 22] }),
};

function element(tag, className, text, ...children) {
  const made = document.createElement(tag);
  if (className) made.className = className;
  if (text) made.textContent = text;
  made.append(...children.filter(Boolean));
  return made;
}

function picture(source, className) {
  if (!source) return className === "thumbnail" ? element("span", "blank") : null;
  const made = element("img", className);
  made.src = source;
  made.alt = "";
  return made;
}

function section(title, ...children) {
  const made = element("section", "", "", title && element("h2", "", title), ...children);
  panel.append(made);
  return made;
}

function keyRow(symbol, name, value) {
  const key = element("span", "key", "", symbol);
  return element("div", "row", "", key, element("span", "name", name), element("span", "value", value));
}

function photoRow(thumbnail, name, value, onClick) {
  const made = element("button", "row", "", picture(thumbnail, "thumbnail"),
    element("span", "name", name), element("span", "value", value));
  made.title = name;
  made.onclick = onClick;
  return made;
}

// Wide from the start: Leaflet measures a popup before its picture is there.
const POPUP = { minWidth: 220, maxWidth: 260 };

function popup(thumbnail, title, ...lines) {
  return element("div", "", "", picture(thumbnail), element("strong", "", title),
    ...lines.filter(Boolean).map((line) => element("p", "detail", line)));
}

function button(text, onClick) {
  const made = element("button", "", text);
  made.onclick = onClick;
  return made;
}

function swatch(color, border) {
  const made = element("span", "swatch");
  made.style.background = color;
  if (border) made.style.border = border;
  return made;
}

// ---- numbers as text

function km(distance) {
  if (distance < 1) return `${Math.max(1, Math.round(distance * 1000))} m`;
  return `${distance < 10 ? distance.toFixed(1) : Math.round(distance).toLocaleString("en")} km`;
}

function percent(share) {
  return `${Number((100 * share).toPrecision(2))}%`;
}

function place([lat, lon], decimals = 4) {
  const side = (value, names) => `${Math.abs(value).toFixed(decimals)}° ${names[value < 0 ? 1 : 0]}`;
  return `${side(lat, "NS")}, ${side(lon, "EW")}`;
}

// ---- the world without tiles: sea, land, graticule

// The copy of a position, turns of 360 degrees apart, that is next to the meridian `lon`.
const beside = (lon, [lat, other]) => [lat, other + 360 * Math.round((lon - other) / 360)];

function ringBeside(lon, ring) {
  const middle = ring.reduce((sum, point) => sum + point[1], 0) / ring.length;
  const shift = beside(lon, [0, middle])[1] - middle;
  return ring.map((point) => [point[0], point[1] + shift]);
}

// A ring without the edges that are not coast: along the antimeridian and the bottom of the map.
function coastLines(ring) {
  const onBorder = ([lat, lon]) => Math.abs(lon) > 179.99 || lat < -89.9;
  const lines = [[]];
  ring.forEach((point, i) => {
    if (i && onBorder(point) && onBorder(ring[i - 1])) lines.push([]);
    lines[lines.length - 1].push(point);
  });
  return lines.filter((line) => line.length > 1);
}

function drawLand(map, turns) {
  const coasts = data.land.flatMap(coastLines);
  const renderer = L.canvas({ padding: 0.5, pane: "land" });
  for (const turn of turns) {
    const shifted = (lines) => lines.map((line) => line.map(([lat, lon]) => [lat, lon + 360 * turn]));
    const style = { renderer, interactive: false, pane: "land" };
    L.polygon(shifted(data.land), { ...style, stroke: false, fillColor: "#f6f3ea", fillOpacity: 1 }).addTo(map);
    L.polyline(shifted(coasts), { ...style, color: "#b3b09f", weight: 0.8 }).addTo(map);
  }
}

// Meridians and parallels, some five across the view, so that an empty street-level view has a place.
function drawGraticule(map) {
  const lines = L.layerGroup().addTo(map);
  const style = { color: "#8fa3b0", weight: 0.6, opacity: 0.55, interactive: false, pane: "land" };
  const hemisphere = (value, step, names) => degrees(Math.abs(value), step) + (value ? ` ${names[value < 0 ? 1 : 0]}` : "");
  const label = (at, text, anchor) => L.marker(at, { interactive: false, keyboard: false,
    icon: L.divIcon({ className: "parallel", iconSize: null, iconAnchor: anchor, html: text }) }).addTo(lines);
  const degrees = (value, step) => `${Number(value.toFixed(step < 1 ? Math.ceil(-Math.log10(step)) : 0))}°`;
  function redraw() {
    lines.clearLayers();
    const view = map.getBounds();
    const [west, east, south, north] = [view.getWest(), view.getEast(), view.getSouth(), view.getNorth()];
    const wanted = (east - west) / 5;
    const power = 10 ** Math.floor(Math.log10(wanted));
    const step = Math.min(30, [1, 2, 5, 10].find((factor) => factor * power >= wanted) * power);
    for (let k = Math.ceil(west / step); k * step <= east; k++) {
      L.polyline([[-85, k * step], [85, k * step]], style).addTo(lines);
      const lon = k * step - 360 * Math.ceil((k * step - 180) / 360);  // -180 is written 180
      label([north, k * step], hemisphere(lon, step, "EW"), [-4, -2]);
    }
    for (let k = Math.ceil(Math.max(south, -85) / step); k * step <= Math.min(north, 85); k++) {
      L.polyline([[k * step, west - 360], [k * step, east + 360]], style).addTo(lines);
      label([k * step, west], hemisphere(k * step, step, "NS"), [-4, -2]);
    }
  }
  map.on("moveend resize", redraw);
}

function makeMap() {
  const map = L.map("map", { minZoom: 1, maxZoom: 18, zoomSnap: 0.25, zoomControl: false, worldCopyJump: false });
  map.setView([0, 0], 1);  // a circle has no bounds before there is a view
  map.createPane("land").style.zIndex = 250;
  map.attributionControl.setPrefix("Leaflet").addAttribution("land: Natural Earth 1:110m");
  L.control.zoom({ position: "topright" }).addTo(map);
  L.control.scale({ imperial: false, maxWidth: 160 }).addTo(map);
  drawLand(map, [-1, 0, 1]);
  drawGraticule(map);
  return map;
}

// A small world that shows where the view lies; pointless while the view is the world.
function drawInset(map, at) {
  const box = element("div");
  box.id = "inset";
  document.getElementById("map").append(box);
  const inset = L.map(box, { zoomControl: false, attributionControl: false, dragging: false, zoomSnap: 0,
    scrollWheelZoom: false, doubleClickZoom: false, boxZoom: false, keyboard: false, touchZoom: false });
  inset.createPane("land").style.zIndex = 250;
  inset.fitBounds([[-58, at[1] - 180], [78, at[1] + 180]], { animate: false });
  drawLand(inset, [-1, 0, 1]);
  L.circleMarker(at, { radius: 5, color: "#fff", weight: 2, fillColor: "#c2410c", fillOpacity: 1 }).addTo(inset);
  map.on("zoomend", () => { box.style.visibility = map.getZoom() < 3.5 ? "hidden" : "visible"; });
}

// Points of the great circle between two positions, their longitudes running on past 180.
function greatCircle(from, to) {
  const radians = Math.PI / 180;
  const vector = ([lat, lon]) => [Math.cos(lat * radians) * Math.cos(lon * radians),
    Math.cos(lat * radians) * Math.sin(lon * radians), Math.sin(lat * radians)];
  const [a, b] = [vector(from), vector(to)];
  const angle = Math.acos(Math.min(1, Math.max(-1, a[0] * b[0] + a[1] * b[1] + a[2] * b[2])));
  if (angle < 1e-6) return [from, beside(from[1], to)];
  const line = [];
  const steps = 64;
  for (let i = 0; i <= steps; i++) {
    const [u, v] = [Math.sin(angle * (1 - i / steps)), Math.sin((angle * i) / steps)];
    const [x, y, z] = [0, 1, 2].map((axis) => (u * a[axis] + v * b[axis]) / Math.sin(angle));
    const point = [Math.atan2(z, Math.hypot(x, y)) / radians, Math.atan2(y, x) / radians];
    line.push(beside(line.length ? line[line.length - 1][1] : from[1], point));
  }
  return line;
}
