// Keeps the page's files, so that it works without a network after the first load.
const NAME = "argosy-DIGEST";
const FILES = ["./"];

self.addEventListener("install", (event) =>
  event.waitUntil(caches.open(NAME).then((cache) => cache.addAll(FILES)).then(() => self.skipWaiting())));
self.addEventListener("activate", (event) =>
  event.waitUntil(caches.keys()
    .then((names) => Promise.all(names.filter((name) => name.startsWith("argosy-") && name !== NAME).map((name) => caches.delete(name))))
    .then(() => self.clients.claim())));
self.addEventListener("fetch", (event) =>
  event.respondWith(caches.match(event.request).then((found) => found || fetch(event.request))));
