// Draws what map.py put into the page: the fix of one photo, or an overview of many. Needs basemap.js.
"use strict";
const RAMP = ["#fde9c9", "#fdbb74", "#f4813f", "#cc4a2b", "#8a2432"];

// ---- one photo

// The ramp's colour at a share of 0 to 1, mixed from its neighbours as the legend's gradient is.
function shade(share) {
  const at = share * (RAMP.length - 1), below = Math.min(RAMP.length - 2, Math.floor(at));
  const channel = (color, i) => parseInt(color.slice(1 + 2 * i, 3 + 2 * i), 16);
  const mixed = [0, 1, 2].map((i) => Math.round(
    channel(RAMP[below], i) + (at - below) * (channel(RAMP[below + 1], i) - channel(RAMP[below], i))));
  return `rgb(${mixed.join(",")})`;
}

function drawCells(map, lon, likeliest) {
  return data.cells.flatMap((cell) => cell.rings.map((ring) => {
    const share = Math.sqrt(cell.probability / likeliest);
    const style = { color: "#8a2432", weight: 0.6, opacity: 0.35, fillColor: shade(share), fillOpacity: 0.3 + 0.4 * share };
    const shape = L.polygon(ringBeside(lon, ring), style).addTo(map);
    return shape.bindTooltip(element("span", "", `${percent(cell.probability)} · cell ${cell.token}`), { sticky: true });
  }));
}

// All rings of a GeoJSON object's polygons, as (lat, lon).
function ringsOf(shape) {
  if (!shape) return [];
  if (shape.type === "FeatureCollection") return shape.features.flatMap(ringsOf);
  if (shape.type === "Feature") return ringsOf(shape.geometry);
  if (shape.type === "GeometryCollection") return shape.geometries.flatMap(ringsOf);
  const rings = shape.type === "Polygon" ? shape.coordinates : shape.type === "MultiPolygon" ? shape.coordinates.flat() : [];
  return rings.map((ring) => ring.map(([lon, lat]) => [lat, lon]));
}

// The region is a set of cells: an edge that two of them share is no border, nor is the cut at the
// antimeridian, where two halves of a cell meet.
function drawRegion(map, lon) {
  const edges = new Map();
  for (const ring of ringsOf(data.region).map((points) => ringBeside(lon, points))) {
    for (let i = 1; i < ring.length; i++) {
      const ends = [ring[i - 1], ring[i]].map((point) => point.map((value) => value.toFixed(5)).join());
      const key = ends.sort().join(" ");
      edges.set(key, edges.has(key) ? null : [ring[i - 1], ring[i]]);
    }
  }
  const border = [...edges.values()].filter(Boolean);
  return L.polyline(border, { color: "#6b1a27", weight: 2.5, lineCap: "butt", interactive: false }).addTo(map);
}

function showFix() {
  const map = makeMap();
  const [, lon] = data.prediction;
  const decimals = data.radius_km > 10 ? 2 : data.radius_km > 1 ? 3 : 4;
  const likeliest = Math.max(1e-12, ...data.cells.map((cell) => cell.probability));
  const region = drawRegion(map, lon);
  const shown = L.featureGroup([...drawCells(map, lon, likeliest), region]);
  if (data.radius_km) {
    const circle = { radius: 1000 * data.radius_km, color: "#c2410c", weight: 1.5, fillOpacity: 0.05, interactive: false };
    shown.addLayer(L.circle(data.prediction, circle).addTo(map));
  }
  if (data.truth) {
    const truth = beside(lon, data.truth);
    const line = { color: "#0f766e", weight: 2, dashArray: "2 6", interactive: false };
    shown.addLayer(L.polyline(greatCircle(data.prediction, truth), line).addTo(map));
    const marker = L.marker(truth, { icon: icons.truth, zIndexOffset: 500 }).addTo(map);
    shown.addLayer(marker.bindPopup(popup(null, "Truth", place(data.truth)), POPUP));
  }
  const matches = data.matches.map((match, i) => {
    const at = beside(lon, [match.lat, match.lon]);
    const lines = [`similarity ${match.score.toFixed(3)}`, `${km(match.km)} from the prediction`, place(at, 4)];
    const marker = L.marker(at, { icon: icons.match(i + 1), zIndexOffset: 400 - i }).addTo(map);
    return marker.bindPopup(popup(match.thumbnail, match.title, ...lines), POPUP);
  });
  const pin = L.marker(data.prediction, { icon: icons.pin, zIndexOffset: 1000 }).addTo(map);
  shown.addLayer(pin.bindPopup(popup(data.photo, "Prediction", place(data.prediction, decimals)), POPUP));
  const near = () => map.fitBounds(shown.getBounds().pad(0.15), { maxZoom: 15 });
  const world = () => map.fitBounds([[-60, lon - 170], [75, lon + 170]]);
  drawInset(map, data.prediction);
  near();
  const all = () => map.fitBounds(L.featureGroup([shown, ...matches]).getBounds().pad(0.1), { maxZoom: 15 });
  fixPanel(map, matches, likeliest, decimals, { near, all, world });
}

function fixPanel(map, matches, likeliest, decimals, views) {
  if (data.photo) panel.append(picture(data.photo, "photo"));
  panel.append(element("h1", "", data.title));
  section("Prediction", element("div", "answer", place(data.prediction, decimals)),
    data.radius_km && element("div", "detail", `within ${km(data.radius_km)}`),
    data.truth && element("div", "detail", `${km(data.error_km)} from the truth`),
    element("div", "views", "", button("Region", views.near),
      matches.length && button("All matches", views.all), button("World", views.world)));
  const pin = element("span", "key pin");
  pin.innerHTML = PIN;
  section("Legend", keyRow(pin, "prediction"),
    data.truth && keyRow(element("span", "truth"), "truth"),
    data.radius_km && keyRow(element("span", "circle"), "radius", km(data.radius_km)),
    keyRow(swatch("none", "2.5px solid #6b1a27"), "region"),
    matches.length && keyRow(element("span", "dot", "1"), "gallery photo, by rank"),
    data.cells.length && element("div", "detail scale", `probability of a cell (${data.cells.length} shown)`),
    data.cells.length && element("div", "ramp"),
    data.cells.length && element("div", "ends", "", ...[0, 0.25, 1].map((part) => element("span", "", percent(part * likeliest)))));
  if (matches.length) {
    section("Gallery photos most like it", ...data.matches.map((match, i) => photoRow(match.thumbnail,
      `${i + 1}. ${match.title}`, match.score.toFixed(2), () => {
        map.setView(matches[i].getLatLng(), Math.max(map.getZoom(), 6));
        matches[i].openPopup();
      })));
  }
  notes();
}

function notes() {
  if (data.notes.length) section("Notes", ...data.notes.map((note) => element("p", "note", note)));
}

// ---- many photos

const BANDS = [[1, "#1a7f5a"], [25, "#5aa843"], [200, "#c9a227"], [750, "#e07b2a"], [2500, "#cc3d2f"], [Infinity, "#7d1f4f"]];
const UNPLACED = "#6b7780";
const bandOf = (fix) => (fix.error_km === null ? null : BANDS.find(([limit]) => fix.error_km <= limit));

// A line from the truth to the prediction; returns the truth's marker.
function drawPair(shown, fix) {
  const color = fix.prediction ? bandOf(fix)[1] : UNPLACED;
  const lines = [fix.prediction ? `${km(fix.error_km)} from the truth` : "not placed", fix.note];
  const content = () => popup(fix.thumbnail, fix.title, ...lines);
  const add = (layer) => shown.addLayer(layer.bindPopup(content, POPUP));
  if (fix.prediction) {
    const line = greatCircle(fix.truth, fix.prediction);
    add(L.polyline(line, { color, weight: 2, opacity: 0.75, smoothFactor: 0.5 }));
    add(L.circleMarker(line[line.length - 1], { radius: 4, color, weight: 2, fillColor: "#fff", fillOpacity: 1 }));
  }
  const truth = L.circleMarker(fix.truth, { radius: 6, color: "#fff", weight: 1.5, fillColor: color, fillOpacity: 1 });
  add(truth);
  return truth;
}

function showOverview() {
  const map = makeMap();
  const shown = L.featureGroup();
  // The best are drawn last, on top of those that miss.
  const open = [...data.fixes].reverse().map((fix) => {
    const truth = drawPair(shown, fix);
    return () => { map.setView(truth.getLatLng(), Math.max(map.getZoom(), 5)); truth.openPopup(); };
  }).reverse();
  shown.addTo(map);
  const all = () => map.fitBounds(shown.getBounds().pad(0.05), { maxZoom: 15 });
  all();
  overviewPanel(open, all);
}

function overviewPanel(open, all) {
  panel.append(element("h1", "", data.title));
  const rows = BANDS.map((band, i) => {
    const from = i ? `${BANDS[i - 1][0].toLocaleString("en")} to ` : "up to ";
    const name = band[0] === Infinity ? `over ${BANDS[i - 1][0].toLocaleString("en")} km` : `${from}${band[0].toLocaleString("en")} km`;
    return keyRow(swatch(band[1]), name, String(data.fixes.filter((fix) => bandOf(fix) === band).length));
  });
  const unplaced = data.fixes.filter((fix) => !fix.prediction).length;
  section(`Distance from the truth, ${data.fixes.length} photos`, ...rows,
    unplaced && keyRow(swatch(UNPLACED), "not placed", String(unplaced)),
    element("div", "views", "", button("Show all", all)));
  const full = element("span", "swatch"), ring = element("span", "swatch");
  full.style.cssText = "width:12px;height:12px;border-radius:50%;background:#5d6d79";
  ring.style.cssText = "width:10px;height:10px;border-radius:50%;border:2px solid #5d6d79";
  section("Legend", keyRow(full, "truth"), keyRow(ring, "prediction"));
  section("Photos, best first", ...data.fixes.map((fix, i) =>
    photoRow(fix.thumbnail, fix.title, fix.prediction ? km(fix.error_km) : "not placed", open[i])));
  notes();
}

data.kind === "fix" ? showFix() : showOverview();
