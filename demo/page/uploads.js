// The uploads that this browser made: kept in localStorage, shown as a list.
// Each is {url, name, size, offset, finished}; sizes are in bytes, instants in milliseconds.

const KEY = "tus-wsgi-demo.uploads";
const KEPT = 50;

export function readableSize(bytes) {
  const units = ["bytes", "KiB", "MiB", "GiB", "TiB"];
  const power = bytes < 1 ? 0 : Math.min(Math.floor(Math.log2(bytes) / 10), units.length - 1);
  const digits = { maximumFractionDigits: 1 };
  return `${(bytes / 1024 ** power).toLocaleString("en", digits)} ${units[power]}`;
}

// Bytes a second over the last seconds: of all bytes so far it would not show a change.
class Speed {
  constructor(at, bytes) {
    Object.assign(this, { at, bytes, value: 0 });
  }

  note(at, bytes) {
    const seconds = (at - this.at) / 1000;
    if (seconds < 0.5) return;
    const now = Math.max(0, bytes - this.bytes) / seconds;
    const value = this.value ? this.value + (now - this.value) * 0.3 : now;
    Object.assign(this, { at, bytes, value });
  }
}

export class Uploads {
  constructor(section, template, bucket) {
    this.section = section;
    this.list = section.querySelector("ul");
    this.template = template;
    this.bucket = bucket;
    this.active = new Map(); // a Speed for each URL that this page is sending to
    this.paused = new Set(); // those of them where a person has said to wait
    this.all = JSON.parse(localStorage.getItem(KEY) ?? "[]");
    this.show();
  }

  // A change to what is known of `url`; the first one puts it at the top of the list.
  note(url, change) {
    const known = this.all.find((upload) => upload.url === url);
    if (known) Object.assign(known, change);
    else this.all = [{ url, offset: 0, finished: false, ...change }, ...this.all].slice(0, KEPT);
    this.keep();
  }

  sent(url, change) {
    const speed = this.active.get(url);
    if (speed) speed.note(performance.now(), change.offset);
    else this.active.set(url, new Speed(performance.now(), change.offset));
    this.note(url, change);
  }

  pause(urls) {
    this.paused = urls;
    this.show();
  }

  forget(url) {
    this.active.delete(url);
    this.all = this.all.filter((upload) => upload.url !== url);
    this.keep();
  }

  keep() {
    localStorage.setItem(KEY, JSON.stringify(this.all));
    this.show();
  }

  // Ask the server how far each upload is. Not those being sent: whoever asks takes an upload
  // over, and would interrupt us.
  async refresh() {
    const idle = this.all.filter((upload) => !this.active.has(upload.url));
    await Promise.allSettled(idle.map((upload) => this.ask(upload.url)));
  }

  async ask(url) {
    const reply = await fetch(url, { method: "HEAD", headers: { "Tus-Resumable": "1.0.0" } });
    if (reply.status === 404 || reply.status === 410) this.forget(url);
    if (!reply.ok || this.active.has(url)) return;
    const offset = Number(reply.headers.get("Upload-Offset"));
    this.note(url, { offset, finished: offset === Number(reply.headers.get("Upload-Length")) });
  }

  async remove(url) {
    const reply = await fetch(url, { method: "DELETE", headers: { "Tus-Resumable": "1.0.0" } });
    if (reply.ok || reply.status === 404 || reply.status === 410) this.forget(url);
  }

  show() {
    this.section.hidden = this.all.length === 0;
    this.list.replaceChildren(...this.all.map((upload) => this.row(upload)));
  }

  row(upload) {
    const row = this.template.content.firstElementChild.cloneNode(true);
    const name = row.querySelector(".name");
    const speed = this.active.get(upload.url);
    const active = speed !== undefined;
    name.textContent = upload.name;
    row.classList.toggle("finished", upload.finished);
    row.querySelector(".state").textContent = this.state(upload, speed);
    row.querySelector("progress").hidden = upload.finished || active;
    row.querySelector("progress").value = upload.size ? upload.offset / upload.size : 0;
    row.querySelector(".object").hidden = !upload.finished;
    const button = row.querySelector("button");
    button.hidden = active; // the widget above has pause and cancel for these
    button.textContent = upload.finished ? "Delete" : "Discard";
    button.ariaLabel = `${button.textContent} ${upload.name}`;
    button.onclick = () => this.remove(upload.url);
    if (upload.finished) {
      name.href = upload.url;
      name.target = "_blank";
      name.rel = "noopener";
      const id = new URL(upload.url, location.href).pathname.split("/").pop();
      row.querySelector(".object").textContent = `s3://${this.bucket}/${id}`;
    }
    return row;
  }

  state({ url, finished, offset, size }, speed) {
    if (finished) return `${readableSize(size)}, stored`;
    const share = `${Math.floor((size ? offset / size : 0) * 100)} % of ${readableSize(size)}`;
    if (!speed) return `${share} stored. Drop this file again to go on.`;
    if (this.paused.has(url)) return `${share} sent, paused`;
    if (!speed.value || !navigator.onLine) return `${share} sent`;
    return `${share} sent, ${readableSize(speed.value)} a second`;
  }
}
