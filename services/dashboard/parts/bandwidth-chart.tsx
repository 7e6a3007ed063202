// SPDX-License-Identifier: Apache-2.0
import { useEffect, useRef } from 'preact/hooks';
import uPlot from 'uplot';
import { formatRate } from '../model/format.ts';
import { now } from '../state/clock.ts';
import { bandwidth } from '../state/transfers.ts';
import { type Palette, usePalette, useWidth } from './canvas.ts';

/** Of a time's text, as wide as it is, in pixels. */
const HALF_A_TIME = 32;
const HEIGHT = 220;
type Engine = 'cpu' | 'dma';
const BOTH: readonly Engine[] = ['cpu', 'dma'];
const CPU_ALONE: readonly Engine[] = ['cpu'];
/** Room for `1023 MiB/s` and a gap, in sizes of the font. */
const AXIS_SIZE = 6;
/** In seconds. Two minutes are one of them, for a narrow screen. */
const TIME_STEPS = [5, 15, 30, 60, 120, 300];
const LEAST_SCALE = 2 ** 20;

/**
 * Bytes a second by engine over the last five minutes, as the transfers that this page sees tell.
 *
 * @param dma whether there is a DMA engine: without one there is nothing to draw
 */
export function BandwidthChart({ dma }: { dma: boolean }) {
  const { element, width } = useWidth<HTMLDivElement>();
  const palette = usePalette();
  const chart = useRef<uPlot | undefined>(undefined);
  const time = now.value;
  const engines = dma ? BOTH : CPU_ALONE;

  useEffect(() => {
    if (width === 0 || element.current === null) return;
    const made = new uPlot(optionsOf(width, palette, dma), data(engines), element.current);
    chart.current = made;
    return () => made.destroy();
  }, [width, palette, element, dma]);
  useEffect(() => {
    if (time > 0) chart.current?.setData(data(engines));
  }, [time]);

  const latest = data(engines);
  const rates = engines.map((name, index) => ({ name, rate: latest[index + 1]?.at(-1) ?? 0 }));
  return (
    <section class="panel" aria-label="Bandwidth">
      <div class="view-head">
        <h2>Bandwidth</h2>
        <p class="legend">
          {rates.map(({ name, rate }) => (
            <span key={name} class={`engine-${name}`}>
              {name.toUpperCase()} <strong>{formatRate(rate)}</strong>
            </span>
          ))}
        </p>
        <span class="quiet small">the last 5 minutes, as far as this page has watched</span>
      </div>
      <div class="chart" ref={element} aria-hidden="true" />
    </section>
  );
}

function data(engines: readonly Engine[]): uPlot.AlignedData {
  return bandwidth.columns(engines, Date.now());
}

function optionsOf(width: number, palette: Palette, dma: boolean): uPlot.Options {
  const axis = {
    stroke: palette.quiet ?? '',
    font: palette.font ?? '',
    grid: { stroke: palette.line ?? '', width: 1 },
    ticks: { show: false },
  };
  return {
    width,
    height: HEIGHT,
    // The latest time stands below the end of the axis.
    padding: [null, HALF_A_TIME, null, null],
    legend: { show: false },
    cursor: { y: false, points: { size: 6 } },
    scales: { y: { range: (_chart, _least, most) => [0, Math.max(most * 1.1, LEAST_SCALE)] } },
    axes: [
      {
        ...axis,
        incrs: TIME_STEPS,
        space: 70,
        size: 28,
        values: (_chart, splits) => splits.map(clockOf),
      },
      {
        ...axis,
        size: AXIS_SIZE * Number.parseFloat(palette.font ?? ''),
        splits: (_chart, _axis, least, most) => splitsOf(least, most),
        values: (_chart, splits) => splits.map((bytes) => (bytes === 0 ? '0' : formatRate(bytes))),
      },
    ],
    series: [
      {},
      // Told apart without a colour: those say what is read and written.
      {
        ...{ label: 'CPU', stroke: palette.quiet ?? '', width: 1.5, dash: [6, 3] },
        points: { show: false },
      },
      ...(dma
        ? [{ label: 'DMA', stroke: palette.ink ?? '', width: 2, points: { show: false } }]
        : []),
    ],
  };
}

function clockOf(seconds: number): string {
  return new Date(seconds * 1000).toLocaleTimeString('en-GB');
}

/** Round in binary, as the numbers are written. */
function splitsOf(least: number, most: number): number[] {
  const step = 2 ** Math.floor(Math.log2(Math.max(1, (most - least) / 2)));
  const splits: number[] = [];
  for (let at = 0; at <= most; at += step) splits.push(at);
  return splits;
}
