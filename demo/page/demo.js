import { Dashboard, Tus, Uppy } from "/uppy/uppy.min.mjs";
import { Uploads } from "/uploads.js";

const { endpoint, bucket } = document.body.dataset;
const uploads = new Uploads(
  document.querySelector("#uploads"),
  document.querySelector("#row"),
  bucket,
);

// Milliseconds before each retry, eleven minutes in total: enough to restart a server by hand.
// tus-js-client starts again with the first delay after every acknowledged byte.
const retryDelays = [0, 500, 1000, 3000, 5000, ...Array(65).fill(10000)];

const uppy = new Uppy({ id: "demo", autoProceed: true })
  .use(Dashboard, {
    target: "#drop",
    inline: true,
    width: "100%",
    height: 360,
    theme: "auto",
    note: "Your files do not leave this machine.",
    showRemoveButtonAfterComplete: true,
    proudlyDisplayPoweredByUppy: false,
    locale: { strings: { dropPasteFiles: "Drop files here or %{browseFiles}" } },
  })
  .use(Tus, {
    endpoint,
    retryDelays,
    limit: 5,
    allowedMetaFields: ["name", "type"],
    // A file whose upload is finished may be uploaded again, as a new upload.
    removeFingerprintOnSuccess: true,
  });

uppy.on("upload-progress", (file, { bytesUploaded }) => {
  const url = file?.tus?.uploadUrl;
  if (!url) return;
  uploads.recordProgress(url, { name: file.name, size: file.size, offset: bytesUploaded });
});

uppy.on("upload-success", (file, { uploadURL }) => {
  uploads.active.delete(uploadURL);
  uploads.record(uploadURL, {
    name: file.name,
    size: file.size,
    offset: file.size,
    finished: true,
  });
});

uppy.on("upload-error", (file) => {
  const url = file?.tus?.uploadUrl;
  uploads.active.delete(url);
  uploads.render();
});

const updatePaused = () => {
  const paused = uppy.getFiles().filter((file) => file.isPaused);
  uploads.setPaused(new Set(paused.map((file) => file.tus?.uploadUrl)));
};
for (const event of ["upload-pause", "pause-all", "resume-all"]) uppy.on(event, updatePaused);

// Removing a file while it uploads cancels the upload: the tus plugin deletes it on the server.
uppy.on("file-removed", (file) => {
  const url = file.tus?.uploadUrl;
  if (url && !file.progress.uploadComplete) uploads.forget(url);
});

const updateOnline = () => {
  document.querySelector("#offline").hidden = navigator.onLine;
  uploads.render();
};
addEventListener("offline", updateOnline);
addEventListener("online", () => {
  updateOnline();
  uploads.refresh();
});
updateOnline();
uploads.refresh();
