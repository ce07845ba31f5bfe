// Numbers, days and names for people.

const NUMBER = new Intl.NumberFormat("en");
const DAY = new Intl.DateTimeFormat("en", { year: "numeric", month: "short", day: "numeric", timeZone: "UTC" });
const MOMENT = new Intl.DateTimeFormat("en", { dateStyle: "medium", timeStyle: "short", timeZone: "UTC" });
const MONTH = new Intl.DateTimeFormat("en", { year: "numeric", month: "long", timeZone: "UTC" });
const UNITS = ["bytes", "kB", "MB", "GB"];
const INVISIBLE = /[\u0000-\u001f\u007f-\u009f\u061c\u200b\u200e\u200f\u202a-\u202e\u2060-\u2069\u2028\u2029\ufeff\u00ad]/gu;

export const count = (number, one, many = `${one}s`) => `${NUMBER.format(number)} ${number === 1 ? one : many}`;
export const number = (value) => NUMBER.format(value);
export const day = (seconds) => DAY.format(seconds * 1000);
export const moment = (seconds) => MOMENT.format(seconds * 1000);
export const month = (seconds) => MONTH.format(seconds * 1000);
export const isoDay = (seconds) => new Date(seconds * 1000).toISOString().slice(0, 10);
export const score = (value) => value.toFixed(2);

export function bytes(size) {
  let unit = 0;
  let value = size;
  while (value >= 1000 && unit < UNITS.length - 1) { value /= 1000; unit += 1; }
  return `${value >= 10 || unit === 0 ? Math.round(value) : value.toFixed(1)} ${UNITS[unit]}`;
}

/** A name on one line: what cannot be seen, or turns the direction of writing around, is spelled out. */
export const name = (text) => text.replace(INVISIBLE, (mark) => `\\u${mark.codePointAt(0).toString(16).padStart(4, "0")}`);
export const fileName = (path) => name(path.slice(path.lastIndexOf("/") + 1));
export const folderOf = (path) => name(path.slice(0, Math.max(0, path.lastIndexOf("/"))));
