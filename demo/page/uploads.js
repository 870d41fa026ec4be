// The uploads of this browser: stored in localStorage, rendered as a list.
// Each is {url, name, size, offset, finished}. Sizes are in bytes, times in milliseconds.

const KEY = "tus-wsgi-demo.uploads";
const MAX_UPLOADS = 50;

export function readableSize(bytes) {
  const units = ["bytes", "KiB", "MiB", "GiB", "TiB"];
  const power = bytes < 1 ? 0 : Math.min(Math.floor(Math.log2(bytes) / 10), units.length - 1);
  const digits = { maximumFractionDigits: 1 };
  return `${(bytes / 1024 ** power).toLocaleString("en", digits)} ${units[power]}`;
}

// A moving average of bytes per second. An average over the whole upload would hide changes.
class Speed {
  constructor(at, bytes) {
    Object.assign(this, { at, bytes, value: 0 });
  }

  update(at, bytes) {
    const seconds = (at - this.at) / 1000;
    if (seconds < 0.5) return;
    const current = Math.max(0, bytes - this.bytes) / seconds;
    const value = this.value ? this.value + (current - this.value) * 0.3 : current;
    Object.assign(this, { at, bytes, value });
  }
}

export class Uploads {
  constructor(section, template, bucket) {
    this.section = section;
    this.list = section.querySelector("ul");
    this.template = template;
    this.bucket = bucket;
    this.active = new Map(); // the Speed of each URL that this page is uploading to
    this.paused = new Set(); // the active URLs that the user has paused
    this.all = JSON.parse(localStorage.getItem(KEY) ?? "[]");
    this.render();
  }

  // Update the upload at `url`, or add it at the top of the list.
  record(url, change) {
    const known = this.all.find((upload) => upload.url === url);
    if (known) Object.assign(known, change);
    else {
      const added = { url, offset: 0, finished: false, ...change };
      this.all = [added, ...this.all].slice(0, MAX_UPLOADS);
    }
    this.save();
  }

  recordProgress(url, change) {
    const speed = this.active.get(url);
    if (speed) speed.update(performance.now(), change.offset);
    else this.active.set(url, new Speed(performance.now(), change.offset));
    this.record(url, change);
  }

  setPaused(urls) {
    this.paused = urls;
    this.render();
  }

  forget(url) {
    this.active.delete(url);
    this.all = this.all.filter((upload) => upload.url !== url);
    this.save();
  }

  save() {
    localStorage.setItem(KEY, JSON.stringify(this.all));
    this.render();
  }

  // Ask the server for the offset of each inactive upload. A HEAD request takes over the lock of an
  // active upload and would interrupt it.
  async refresh() {
    const inactive = this.all.filter((upload) => !this.active.has(upload.url));
    await Promise.allSettled(inactive.map((upload) => this.loadOffset(upload.url)));
  }

  async loadOffset(url) {
    const response = await fetch(url, { method: "HEAD", headers: { "Tus-Resumable": "1.0.0" } });
    if (response.status === 404 || response.status === 410) this.forget(url);
    if (!response.ok || this.active.has(url)) return;
    const offset = Number(response.headers.get("Upload-Offset"));
    const finished = offset === Number(response.headers.get("Upload-Length"));
    this.record(url, { offset, finished });
  }

  async delete(url) {
    const headers = { "Tus-Resumable": "1.0.0" };
    const response = await fetch(url, { method: "DELETE", headers });
    if (response.ok || response.status === 404 || response.status === 410) this.forget(url);
  }

  render() {
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
    button.hidden = active; // the widget above has the buttons of active uploads
    button.textContent = upload.finished ? "Delete" : "Discard";
    button.ariaLabel = `${button.textContent} ${upload.name}`;
    button.onclick = () => this.delete(upload.url);
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
    const percent = Math.floor((size ? offset / size : 0) * 100);
    const share = `${percent} % of ${readableSize(size)}`;
    if (!speed) return `${share} stored. Drop this file again to resume.`;
    if (this.paused.has(url)) return `${share} sent, paused`;
    if (!speed.value || !navigator.onLine) return `${share} sent`;
    return `${share} sent, ${readableSize(speed.value)}/s`;
  }
}
