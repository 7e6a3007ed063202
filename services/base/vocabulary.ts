// SPDX-License-Identifier: Apache-2.0

/**
 * What devices and transfers are made of, in the words of the HTTP contract. engines/records.ts has
 * the numbers that the shim knows them by.
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

/** Where a store survives a loss of power. In the order of enum dma_shim_persistence. */
export const PERSISTENCE = [
  ...(['volatile', 'memory_controller', 'cpu_cache', 'backing_store', 'unknown'] as const),
] as const;
export type Persistence = (typeof PERSISTENCE)[number];

/** What made bytes persistent. In the order of enum dma_shim_flush_basis. */
export const FLUSH_BASES = ['none', 'clwb', 'clflushopt', 'clflush', 'msync', 'cpu_cache'] as const;
export type FlushBasis = (typeof FLUSH_BASES)[number];

export const CONTENT_DIRECTIONS = ['upload', 'download'] as const;
export type ContentDirection = (typeof CONTENT_DIRECTIONS)[number];

export const DEVICE_STATES = ['online', 'gone'] as const;
export type DeviceState = (typeof DEVICE_STATES)[number];
