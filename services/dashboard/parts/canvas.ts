// SPDX-License-Identifier: Apache-2.0
import { useEffect, useRef, useState } from 'preact/hooks';

/** The colours and the small font of the style sheet, for what is drawn; anew when the scheme changes. */
export type Palette = Readonly<Record<string, string>>;

const NAMES = [
  ...['ink', 'quiet', 'line', 'panel', 'sunken', 'wrong', 'wrong-rest'],
  ...['read', 'read-rest', 'write', 'write-rest', 'wait', 'wait-rest'],
];
const QUERIES = [
  '(prefers-color-scheme: dark)',
  '(forced-colors: active)',
  // There the type is larger: see base.css.
  '(min-width: 2000px)',
];

function readPalette(): Palette {
  const style = getComputedStyle(document.documentElement);
  const value = (name: string) => style.getPropertyValue(`--${name}`).trim();
  const pixels = Number.parseFloat(value('small')) * Number.parseFloat(style.fontSize);
  return {
    ...Object.fromEntries(NAMES.map((name) => [name, value(name)])),
    font: `${pixels}px ${value('font')}`,
  };
}

export function usePalette(): Palette {
  const [palette, setPalette] = useState(readPalette);
  useEffect(() => {
    const lists = QUERIES.map((query) => matchMedia(query));
    const read = () => setPalette(readPalette());
    for (const list of lists) list.addEventListener('change', read);
    return () => {
      for (const list of lists) list.removeEventListener('change', read);
    };
  }, []);
  return palette;
}

/** The width of an element, in CSS pixels, as it changes. */
export function useWidth<E extends HTMLElement>() {
  const element = useRef<E>(null);
  const [width, setWidth] = useState(0);
  useEffect(() => {
    if (element.current === null) return;
    const observer = new ResizeObserver(([entry]) => setWidth(entry?.contentRect.width ?? 0));
    observer.observe(element.current);
    return () => observer.disconnect();
  }, []);
  return { element, width };
}

/** A context to draw in, in CSS pixels, cleared. */
export function contextOf(canvas: HTMLCanvasElement, width: number, height: number) {
  const scale = devicePixelRatio;
  const [w, h] = [Math.round(width * scale), Math.round(height * scale)];
  if (canvas.width !== w || canvas.height !== h) {
    canvas.width = w;
    canvas.height = h;
  }
  const context = canvas.getContext('2d') as CanvasRenderingContext2D;
  context.setTransform(scale, 0, 0, scale, 0, 0);
  context.clearRect(0, 0, width, height);
  return context;
}
