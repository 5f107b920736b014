// As much of a web page as the old clients need to poll with scripts and forms: elements that load, run and submit what they are
// told, over the network and with the rules of browsers.

import vm from 'node:vm';

class Element {
    children = [];
    parentNode = null;
    style = {};
    value = '';

    constructor(page, tag) {
        this.page = page;
        this.tag = tag;
    }

    setAttribute() {}

    appendChild(child) {
        return this.insertBefore(child, null);
    }

    insertBefore(child, next) {
        const index = next === null ? this.children.length : this.children.indexOf(next);
        this.children.splice(index, 0, child);
        child.parentNode = this;
        if (child.tag === 'script') this.page.load(child);
        return child;
    }

    removeChild(child) {
        this.children.splice(this.children.indexOf(child), 1);
        child.parentNode = null;
        return child;
    }

    submit() {
        this.page.submit(this);
    }
}

/** The global `document`. Keeps what went over the network: `{kind, url, status, type, body}`. */
export class Page {
    log = [];
    head = new Element(this, 'head');
    body = new Element(this, 'body');

    /** Makes this process a page, for as long as it runs. */
    static open() {
        const page = new Page();
        globalThis.document = page;
        return page;
    }

    createElement(tag) {
        // Only old Internet Explorers take attributes here.
        if (tag.startsWith('<')) throw new Error('InvalidCharacterError');
        return new Element(this, tag);
    }

    getElementsByTagName(tag) {
        return [...this.head.children, ...this.body.children].filter((element) => element.tag === tag);
    }

    async load(script) {
        const response = await fetch(script.src).catch(() => null);
        const body = await response?.text();
        const type = response?.headers.get('content-type');
        this.log.push({ kind: 'script', url: script.src, status: response?.status, type, body });
        if (script.parentNode === null) return;
        // A browser runs no answer of another status, and with `nosniff` none of another type.
        if (response?.ok && /^text\/javascript\b/.test(type)) vm.runInThisContext(body);
        else script.onerror(new Error(`status ${response?.status}`));
    }

    async submit(form) {
        const [field, iframe] = form.children;
        // Browsers write each newline of a form as two characters.
        const value = field.value.replace(/\r\n|\r|\n/g, '\r\n');
        const body = new URLSearchParams({ [field.name]: value });
        const response = await fetch(form.action, { method: 'POST', body }).catch(() => null);
        const type = response?.headers.get('content-type');
        this.log.push({ kind: 'form', url: form.action, status: response?.status, type, body: value });
        // A frame loads whatever it is, refusals too.
        iframe.onload();
    }
}
