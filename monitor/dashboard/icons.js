// The icons: one shape per meaning, so that nothing is told by colour alone. All drawn in currentColor on 16 × 16.

import { svg } from "./dom.js";

const BANG = "M7.1 3.9h1.8l-.3 5H7.4zM8 10.3a1 1 0 1 1 0 2 1 1 0 0 1 0-2z";

const FILLED = {
  critical: `M5.1 1h5.8L15 5.1v5.8L10.9 15H5.1L1 10.9V5.1z${BANG}`, // octagon
  high: "M8 1.2 15.4 14.5H.6zM7.2 5.6h1.6l-.3 4.4h-1zM8 11a.95.95 0 1 1 0 1.9.95.95 0 0 1 0-1.9z", // triangle
  medium: "M8 .9 15.1 8 8 15.1.9 8zM7.2 4.4h1.6l-.3 4.4h-1zM8 9.8a.95.95 0 1 1 0 1.9.95.95 0 0 1 0-1.9z", // diamond
  pause: "M8 1a7 7 0 1 1 0 14A7 7 0 0 1 8 1zM5.5 5v6h1.8V5zm3.2 0v6h1.8V5z",
};

const STROKED = {
  low: "M8 2.2a5.8 5.8 0 1 1 0 11.6A5.8 5.8 0 0 1 8 2.2zM8 7.2v4M8 4.6v.6", // circle
  check: "M3 8.5 6.5 12 13 4.5",
  cross: "M4 4l8 8M12 4l-8 8",
  kill: "M8 1.8v6M4.6 4.2a5.3 5.3 0 1 0 6.8 0", // a power switch
  cut: "M8 2a6 6 0 1 1 0 12A6 6 0 0 1 8 2zM3.8 3.8l8.4 8.4", // no entry
  hold: "M8 2.2a5.8 5.8 0 1 1 0 11.6A5.8 5.8 0 0 1 8 2.2zM8 4.8V8l2.4 1.6", // clock
  restore: "M3 3v3.6h3.6M3.4 6.4A5.3 5.3 0 1 1 2.8 9.6",
  learn: "M4 1.8h8M4 14.2h8M5 1.8c0 4 6 5 6 12.4M11 1.8c0 4-6 5-6 12.4", // hour glass
  bell: "M4 11.5c.8-1 .8-2.5.8-4a3.2 3.2 0 0 1 6.4 0c0 1.5 0 3 .8 4zM7 13.8h2",
  live: "M1.5 8h3l2-4.5 3 9 2-4.5h3",
  retry: "M13 3v3.6H9.4M12.6 6.4A5.3 5.3 0 1 0 13.2 9.6",
  eye: "M1.2 8C3 4.8 5.4 3.4 8 3.4s5 1.4 6.8 4.6c-1.8 3.2-4.2 4.6-6.8 4.6S3 11.2 1.2 8zM8 6a2 2 0 1 1 0 4 2 2 0 0 1 0-4z",
};

/** Return the icon as an SVG element. It says nothing to a screen reader: the text beside it does. */
export function icon(name) {
  const filled = FILLED[name];
  const path = filled
    ? svg("path", { d: filled, fill: "currentColor", "fill-rule": "evenodd" })
    : svg("path", {
        d: STROKED[name],
        fill: "none",
        stroke: "currentColor",
        "stroke-width": 1.7,
        "stroke-linecap": "round",
        "stroke-linejoin": "round",
      });
  return svg("svg", { class: "icon", viewBox: "0 0 16 16", "aria-hidden": "true", focusable: "false" }, path);
}
