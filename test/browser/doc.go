// Package browser drives a headless Chromium for tests, by the W3C's WebDriver protocol and Debian's packages chromium and
// chromium-driver. The browser resolves no names, so it reaches nothing but what a test serves on the loopback interface.
package browser
