import { Dashboard, Tus, Uppy } from "/uppy/uppy.min.mjs";

// Milliseconds before each retry. After bytes have arrived, the next retry is the first again.
const retryDelays = [0, 1000, 3000, 5000, 10000, 20000];

new Uppy({ autoProceed: true })
  .use(Dashboard, { target: "#drop", inline: true, width: "100%", height: 300 })
  .use(Tus, {
    endpoint: "/files/",
    retryDelays,
    allowedMetaFields: ["name", "type"],
    removeFingerprintOnSuccess: true,
  })
  .on("upload-success", showFiles)
  .on("upload-error", (file, error, response) => {
    // The sentence with which the app refused or rejected the file.
    document.querySelector("#refusal").textContent =
      error.originalResponse?.getBody() || error.message;
  })
  .on("upload", () => (document.querySelector("#refusal").textContent = ""));

// Load the page again, and replace the list of files.
async function showFiles() {
  const page = await (await fetch("/")).text();
  const files = new DOMParser().parseFromString(page, "text/html").querySelector("#files");
  document.querySelector("#files").replaceWith(files);
}
