// SPDX-License-Identifier: Apache-2.0

/**
 * What transfers are made of, in the words of the HTTP contract. engines/records.ts
 * has the numbers that the shim knows them by.
 */
export const MAX_SEGMENTS = 4096;

export const ENGINE_NAMES = ['cpu', 'dma'] as const;
export type EngineName = (typeof ENGINE_NAMES)[number];

export const PRIORITY_NAMES = ['high', 'normal', 'low'] as const;
export type Priority = (typeof PRIORITY_NAMES)[number];

/** In the order of enum dma_shim_operation. */
export const OPERATIONS = ['copy', 'fill', 'compare'] as const;
export type Operation = (typeof OPERATIONS)[number];

/** In the order of enum dma_shim_dma_error. */
export const DMA_ERRORS = [
  ...(['none', 'read', 'write', 'lost', 'map', 'aborted'] as const),
  ...(['timeout', 'device_gone', 'channel_gone'] as const),
] as const;
export type DmaError = (typeof DMA_ERRORS)[number];
