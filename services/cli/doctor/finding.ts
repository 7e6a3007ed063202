// SPDX-License-Identifier: Apache-2.0

/** `unknown`: it could not be seen, and the message says why. */
export type Level = 'ok' | 'warning' | 'problem' | 'unknown';

/** One line of what doctor has to say. */
export interface Finding {
  /** What it is about, such as `device dax0.0` or `module`. */
  subject: string;
  level: Level;
  message: string;
  /** What to do about it. */
  remedy?: string;
}

export function ok(subject: string, message: string): Finding {
  return { subject, level: 'ok', message };
}

export function warning(subject: string, message: string, remedy: string): Finding {
  return { subject, level: 'warning', message, remedy };
}

export function problem(subject: string, message: string, remedy: string): Finding {
  return { subject, level: 'problem', message, remedy };
}

export function unknown(subject: string, message: string): Finding {
  return { subject, level: 'unknown', message };
}
