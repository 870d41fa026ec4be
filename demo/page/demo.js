import { Dashboard, Tus, Uppy } from "/uppy/uppy.min.mjs";
import { Uploads } from "/uploads.js";

const { endpoint, bucket } = document.body.dataset;
const uploads = new Uploads(
  document.querySelector("#uploads"),
  document.querySelector("#row"),
  bucket,
);

// Milliseconds before each new try, eleven minutes in all: enough to restart a server by hand.
// tus-js-client starts over with the first after every byte that arrives.
const retryDelays = [0, 500, 1000, 3000, 5000, ...Array(65).fill(10000)];

const uppy = new Uppy({ id: "demo", autoProceed: true })
  .use(Dashboard, {
    target: "#drop",
    inline: true,
    width: "100%",
    height: 360,
    theme: "auto",
    note: "Nothing leaves this machine.",
    showRemoveButtonAfterComplete: true,
    proudlyDisplayPoweredByUppy: false,
    locale: { strings: { dropPasteFiles: "Drop files here or %{browseFiles}" } },
  })
  .use(Tus, {
    endpoint,
    retryDelays,
    limit: 5,
    allowedMetaFields: ["name", "type"],
    // A file that has arrived may be sent again, as another upload.
    removeFingerprintOnSuccess: true,
  });

uppy.on("upload-progress", (file, { bytesUploaded }) => {
  const url = file?.tus?.uploadUrl;
  if (!url) return;
  uploads.sent(url, { name: file.name, size: file.size, offset: bytesUploaded });
});

uppy.on("upload-success", (file, { uploadURL }) => {
  uploads.active.delete(uploadURL);
  uploads.note(uploadURL, {
    name: file.name,
    size: file.size,
    offset: file.size,
    finished: true,
  });
});

uppy.on("upload-error", (file) => {
  const url = file?.tus?.uploadUrl;
  uploads.active.delete(url);
  uploads.show();
});

const showPaused = () => {
  const paused = uppy.getFiles().filter((file) => file.isPaused);
  uploads.pause(new Set(paused.map((file) => file.tus?.uploadUrl)));
};
for (const event of ["upload-pause", "pause-all", "resume-all"]) uppy.on(event, showPaused);

// Removing a file that is on its way cancels it, and the tus plugin deletes it on the server.
uppy.on("file-removed", (file) => {
  const url = file.tus?.uploadUrl;
  if (url && !file.progress.uploadComplete) uploads.forget(url);
});

const showNetwork = () => {
  document.querySelector("#offline").hidden = navigator.onLine;
  uploads.show();
};
addEventListener("offline", showNetwork);
addEventListener("online", () => {
  showNetwork();
  uploads.refresh();
});
showNetwork();
uploads.refresh();
